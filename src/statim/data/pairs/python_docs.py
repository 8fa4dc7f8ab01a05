"""The source ``python-docs``: docstrings of this Python's standard library and installed packages.

Anchor: an object's dotted name and the first paragraph of its docstring; positive: the paragraphs after it.
"""

import hashlib
import json
import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path, PurePath

import pyarrow as pa

from statim import cache
from statim import threads as pool
from statim.data.pairs import docstrings
from statim.data.pairs.pairs import PYTHON_DOCS, Pairs, Report, Taken
from statim.data.text_column import buffers
from statim.errors import DataError, ModelError
from statim.tensors import Array, load_tensors, save_tensors

FORMAT = 1  # grows whenever the same packages would give other pairs
STDLIB = "stdlib"

SHORTEST_ANCHOR, SHORTEST_POSITIVE, LONGEST = 20, 60, 600  # characters
MOST_PROCESSES = 8

# Tests, copies of other packages, and (of the standard library) an editor, demonstrations and build files
LEFT_OUT = {"test", "tests", "testing", "conftest.py", "_vendor", "vendored", "_vendored", "__pycache__"}
LEFT_OUT_OF_STDLIB = LEFT_OUT | {
    "idlelib",
    "turtledemo",
    "lib2to3",
    "site-packages",
    "dist-packages",
    "ensurepip",
    "pydoc_data",
}

COLUMNS = ["anchor", "positive"]

File = tuple[str, str]  # path, module


def python_docs(packages: Sequence[str] | None = None, *, threads: int | None = None) -> Pairs:
    """The pairs in the documentation of Python and of installed packages.

    The same packages, of the same versions, give the same pairs in the same order: sorted by name, white
    space collapsed, anchors of at least 20 characters, positives of at least 60, both cut at 600; each anchor
    and each positive once. Source is parsed and never run. The result is cached.

    Args:
        packages: Names of distributions (``scikit-learn``), of top-level packages (``sklearn``), or
            ``stdlib``; None takes the standard library and all that is installed. Packages in editable mode
            have no documentation here.
        threads: Processes to parse with.

    Returns:
        The pairs.

    Raises:
        DataError: A package is not installed, or fewer than 2 pairs are found.

    Examples:
        >>> pairs = python_docs(["stdlib"])
        >>> len(pairs) > 1000
        True
    """
    chosen = _chosen(packages)
    installed = [f"{name} {d.version}" if d else f"{name} {sys.version}" for name, d in chosen.items()]
    key = hashlib.sha256(
        json.dumps([FORMAT, platform.python_implementation(), *installed]).encode()
    ).hexdigest()[:32]
    path = cache.folder(PYTHON_DOCS) / f"{key}.safetensors"
    table = _cached(path)
    if table is None:
        files = sorted({file for name, d in chosen.items() for file in (_files(d) if d else _stdlib_files())})
        rows = _pairs(_parse(files, threads))
        table = pa.table(
            {name: pa.array(column, pa.large_string()) for name, column in zip(COLUMNS, rows, strict=True)}
        )
        with cache.writing():
            save_tensors(path, _arrays(table), sealed=True)
    if len(table) < 2:
        raise DataError(
            f"fewer than 2 pairs are in the documentation of {', '.join(chosen)}; name more packages"
        )
    taken = Taken(PYTHON_DOCS, len(table), {"anchor": "name and first paragraph", "positive": "the rest"})
    return Pairs(table.column("anchor"), table.column("positive"), (), Report((taken,), len(table)))


def _chosen(packages: Sequence[str] | None) -> dict[str, metadata.Distribution | None]:
    """The distributions asked for by normalised name, sorted; None stands for the standard library."""
    found: dict[str, metadata.Distribution | None] = {}
    for distribution in metadata.distributions():
        if name := distribution.metadata["Name"]:
            found.setdefault(
                _normalised(name), distribution
            )  # the first on the path is the one that Python imports
    if packages is None:
        return dict(sorted({STDLIB: None, **found}.items()))
    homes = metadata.packages_distributions()
    chosen: dict[str, metadata.Distribution | None] = {}
    for package in packages:
        name = _normalised(package)
        names = (
            [STDLIB]
            if name == STDLIB
            else [name]
            if name in found
            else [_normalised(n) for n in homes.get(package, [])]
        )
        if not names:
            raise DataError(
                f"no package {package!r} is installed here; `pip list` names those that are, and "
                f"{STDLIB} is Python's own"
            )
        chosen.update({name: found.get(name) for name in names})
    return dict(sorted(chosen.items()))


def _normalised(name: str) -> str:
    """A distribution's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _arrays(table: pa.Table) -> dict[str, Array]:
    """The bytes and offsets of both columns."""
    found: dict[str, Array] = {}
    for name in COLUMNS:
        texts = pa.concat_arrays(table.column(name).chunks) if len(table) else pa.array([], pa.large_string())
        found[f"{name}_bytes"], found[f"{name}_offsets"] = buffers(texts)
    return found


def _cached(path: Path) -> pa.Table | None:
    """What an earlier call wrote; None if it is not there or damaged."""
    try:
        found, _ = load_tensors(path)
        columns = [
            pa.LargeStringArray.from_buffers(
                len(found[f"{name}_offsets"]) - 1,
                *(pa.py_buffer(found[f"{name}_{part}"]) for part in ("offsets", "bytes")),
            )
            for name in COLUMNS
        ]
        table = pa.table(columns, COLUMNS)
        table.validate(full=True)
    except (ModelError, KeyError, pa.ArrowException):
        return None
    return table


def _files(distribution: metadata.Distribution) -> list[File]:
    """The modules that a distribution installed, without its tests."""
    files = []
    for path in distribution.files or []:
        if path.suffix == ".py" and ".." not in path.parts and not _left_out(path, LEFT_OUT):
            files.append((str(distribution.locate_file(path)), _module(path)))
    return files


def _stdlib_files() -> list[File]:
    root = Path(sysconfig.get_path("stdlib"))
    files = []
    for top in sorted(root.iterdir()):
        if top.name in LEFT_OUT_OF_STDLIB or top.name.startswith("config-"):
            continue
        for path in top.rglob("*.py") if top.is_dir() else [top] if top.suffix == ".py" else []:
            relative = path.relative_to(root)
            if not _left_out(relative, LEFT_OUT_OF_STDLIB):
                files.append((str(path), _module(relative)))
    return files


def _left_out(path: PurePath, names: set[str]) -> bool:
    return (
        path.name.startswith(("test_", "__editable__"))
        or path.name.endswith("_test.py")
        or not names.isdisjoint(path.parts)
    )


def _module(path: PurePath) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _parse(files: list[File], threads: int | None) -> list[tuple[str, str]]:
    """The docstrings of all files: in several processes where that can be, else here."""
    workers = min(pool.count(threads), MOST_PROCESSES, 1 + len(files) // 200)
    shares = [files[start::workers] for start in range(workers)]
    tasks: list[Callable[[], list[tuple[str, str]]]] = [
        partial(_parse_here, shares[0]),
        *(partial(_parse_apart, share) for share in shares[1:]),
    ]
    return [entry for found in pool.run(tasks, workers) for entry in found]


def _parse_here(files: Iterable[File]) -> list[tuple[str, str]]:
    return [entry for path, module in files for entry in docstrings.read(path, module)]


def _parse_apart(files: list[File]) -> list[tuple[str, str]]:
    """Parse in a process of its own; should it not start or not end well, parse here."""
    command = [sys.executable or "python", "-I", "-W", "ignore", docstrings.__file__]
    asked = "".join(json.dumps(file) + "\n" for file in files).encode()
    try:
        answer = subprocess.run(
            command, input=asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        ).stdout
        lines = [json.loads(line) for line in answer.splitlines()]
    except (OSError, subprocess.SubprocessError, ValueError):
        lines = []
    if len(lines) != len(files):
        return _parse_here(files)
    return [(name, text) for line in lines for name, text in line]


def _pairs(documented: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Anchors and positives, sorted by name; of those with equal anchors or equal positives the first."""
    anchors: dict[str, str] = {}
    positives: set[str] = set()
    for name, text in sorted(documented):
        first, _, rest = re.sub(r"\n[ \t\r]*\n", "\n\n", text.strip()).partition("\n\n")
        anchor = " ".join(f"{name}: {first}".split())[:LONGEST].rstrip()
        positive = " ".join(rest.split())[:LONGEST].rstrip()
        long_enough = len(anchor) >= SHORTEST_ANCHOR and len(positive) >= SHORTEST_POSITIVE
        if (
            long_enough
            and anchor not in anchors
            and positive not in positives
            and _is_unicode(anchor + positive)
        ):
            anchors[anchor] = positive
            positives.add(positive)
    return list(anchors), list(anchors.values())


def _is_unicode(text: str) -> bool:
    """No lone surrogates, which a docstring can hold by an escape and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
