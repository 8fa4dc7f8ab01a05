"""Pairs in several languages, made from Debian's packages, which are unpacked and never installed.

    ja, ru, de, fr      short description of a package -> the long one, from apt's lists of translations
    zh                  name line of a Chinese manual page -> its text (manpages-zh)
    th, hi              English text of LibreOffice -> Thai, Hindi (its gettext catalogues)
    en-de, en-fr, en-ja likewise: across languages
    code                docstring of a Python function -> its code, from the packages of this environment

apt's own state stays as it is: lists and packages go into the scratch folder.
"""

import ast
import gettext
import gzip
import json
import re
import subprocess
import sysconfig
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

Pair = tuple[str, str]

DESCRIPTIONS = ("ja", "ru", "de", "fr")
CATALOGUES = {"th": "th", "hi": "hi", "en-de": "de", "en-fr": "fr", "en-ja": "ja"}
NAMES = ("zh", *DESCRIPTIONS, *CATALOGUES, "code")
LEFT_OUT = {"test", "tests", "_vendor", "site-packages", "dist-packages"}
SOURCES = (("stdlib", "."), *(("purelib", name) for name in ("numpy", "sklearn", "pyarrow")))
LONGEST = 600  # characters of a positive


def made(name: str, folder: Path, most: int) -> Path:
    """The file of a set's pairs, made if it is missing: ``most`` of them, drawn with a fixed seed."""
    path = folder / f"{name}.jsonl"
    if not path.exists():
        pairs = list(dict.fromkeys(_pairs(name, folder)))
        order = np.sort(np.random.default_rng(0).permutation(len(pairs))[:most])
        lines = [json.dumps(dict(zip(("anchor", "positive"), pairs[at], strict=True)), ensure_ascii=False)
                 for at in order]  # fmt: skip
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _pairs(name: str, folder: Path) -> Iterator[Pair]:
    if name == "code":
        return code([Path(sysconfig.get_paths()[place]) / part for place, part in SOURCES])
    _update(folder)
    if name == "zh":
        return manual_pages(_unpacked("manpages-zh", folder) / "usr/share/man/zh_CN")
    if name in DESCRIPTIONS:
        return descriptions(_translations(name, folder), name)
    return catalogues(_unpacked(f"libreoffice-l10n-{CATALOGUES[name]}", folder))


def descriptions(stanzas: Iterable[str], language: str) -> Iterator[Pair]:
    """Short and long descriptions of a file Translation-XX, of each different long one the first."""
    seen = set()
    for stanza in stanzas:
        _, _, description = stanza.partition(f"Description-{language}: ")
        short, _, rest = description.partition("\n")
        long = " ".join(line.strip() for line in rest.splitlines() if line.strip() != ".")[:LONGEST]
        if len(long) >= 60 and long not in seen and not short.startswith("<"):
            seen.add(long)
            yield short, long


def manual_pages(folder: Path) -> Iterator[Pair]:
    """What follows the dash in a page's first section -> the sections behind it."""
    for path in sorted(folder.rglob("*.gz")):
        with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
            page = plain(f"\n{file.read()}".partition("\n.TH")[2])
        _, *sections = re.split(r"\n\.SH.*", f"\n{page}")
        about = (
            re.split(r"\s+(?:-|--|—)\s+", " ".join(sections[0].split()), maxsplit=1) if sections[1:] else []
        )
        text = " ".join(" ".join(sections[1:]).split())[:LONGEST]
        if len(about) == 2 and len(text) >= 60 and re.search("[\u4e00-\u9fff]", about[1]):
            yield about[1][:200], text


def plain(page: str) -> str:
    """The text of a page in roff, its sections still marked by .SH."""
    page = re.sub(r"(?m)^[.']\\\".*\n", "", page)
    page = re.sub(r"(?m)^\.S[Hh]\s.*$", ".SH", page)
    page = re.sub(r"(?m)^\.(?:B|I|BR|IR|RB|RI|BI|IB|SM|SB|SS|Nm|Nd|Ar|Fl|Xr)\b ?", "", page)
    page = re.sub(r"(?m)^[.'](?!SH).*\n", "", page)
    page = re.sub(r"\\f(?:\[\w*\]|\(..|.)|\\s[+-]?\d|\\[&/,|^]", "", page)
    return re.sub(r"\\\((.)(.)", " ", page).replace("\\-", "-").replace("\\ ", " ").replace("\\e", "\\")


def catalogues(folder: Path) -> Iterator[Pair]:
    """English texts of three words or more and their translations of twelve characters or more."""
    for path in sorted(folder.rglob("*.mo")):
        with path.open("rb") as file:
            found: dict[str, str] = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        for key, translated in found.items():
            original = key.split("\x04")[-1] if isinstance(key, str) else ""
            sides = [" ".join(re.sub("[_~]|<[^>]*>", "", side).split()) for side in (original, translated)]
            if len(sides[0].split()) >= 3 and len(sides[1]) >= 12 and sides[0] != sides[1]:
                yield sides[0][:LONGEST], sides[1][:LONGEST]


def code(folders: Iterable[Path]) -> Iterator[Pair]:
    """The first paragraph of a function's docstring -> the function without it."""
    for path in (path for folder in folders for path in _sources(folder)):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, ValueError, RecursionError):
            continue
        for node in ast.walk(tree):
            docstring = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else None
            if isinstance(node, ast.FunctionDef) and docstring and len(node.body) > 1:
                about = " ".join(docstring.split("\n\n")[0].split())
                node.body = node.body[1:]
                if len(about) >= 20:
                    yield about[:LONGEST], textwrap.dedent(ast.unparse(node))[:LONGEST]


def _sources(folder: Path) -> list[Path]:
    return [
        path for path in sorted(folder.rglob("*.py")) if not LEFT_OUT & set(path.relative_to(folder).parts)
    ]


def _apt(folder: Path, *command: str) -> None:
    """apt-get with its lists and packages in the folder."""
    (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
    (folder / "debs").mkdir(exist_ok=True)
    options = (
        f"Dir::State::lists={folder.absolute()}/lists",
        f"Dir::Cache={folder.absolute()}/cache",
        f"Acquire::Languages={','.join(DESCRIPTIONS)}",
        "APT::Sandbox::User=root",
    )
    given = [part for option in options for part in ("-o", option)]
    subprocess.run(
        ["apt-get", "-q", *given, *command], check=True, cwd=folder / "debs", stdout=subprocess.DEVNULL
    )


def _update(folder: Path) -> None:
    if not list(folder.glob("lists/*Packages*")):
        _apt(folder, "update")


def _translations(language: str, folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob(f"lists/*_i18n_Translation-{language}*")):
        command = ["/usr/lib/apt/apt-helper", "cat-file", str(path)]
        yield from subprocess.run(command, check=True, capture_output=True).stdout.decode().split("\n\n")


def _unpacked(package: str, folder: Path) -> Path:
    place = folder / "unpacked" / package
    if not place.is_dir():
        _apt(folder, "download", package)
        place.mkdir(parents=True)
        deb = next((folder / "debs").glob(f"{package}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(deb), str(place)], check=True)
    return place
