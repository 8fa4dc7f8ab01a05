"""The pictures of docs/explain.md, docs/drift.md and docs/map.md, made in headless Chromium.

    python benchmarks/pictures.py

The texts are docstrings of this Python's standard library, and for drift the descriptions of the installed
packages; the model is the bundled one. Pictures are reduced to 256 colors, to keep them small.
"""

import ast
import sys
import sysconfig
import tempfile
import time
import warnings
from importlib import metadata
from pathlib import Path

import pyarrow as pa
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from browser import Browser, browser
from statim import StaticModel
from statim.insight.contributions import explain
from statim.insight.explain_page import page as explain_page
from statim.insight.maps.make_map import make_map
from statim.insight.maps.page import page as map_page

DOCS = ROOT / "docs"
COLORS = 256
READY = "typeof state !== 'undefined' && state.loaded === state.panes.length && state.panes.length > 0"
SEARCH = "document.getElementById('search').value = 'socket'; search('socket')"
PAIR = ("How do I open a file and read its lines?", "Open the file, then iterate over it line by line.")


def docstrings() -> list[dict[str, str]]:
    """The docstrings of the standard library's modules, each with the kind of thing that it describes."""
    found = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # files with odd escapes
            tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
                kind = {"Module": "module", "ClassDef": "class"}.get(type(node).__name__, "function")
                found.append({"text": ast.get_docstring(node) or "", "kind": kind})
    return found


def descriptions() -> list[str]:
    """The paragraphs of the installed packages' descriptions."""
    found = {}
    for one in sorted(metadata.distributions(), key=lambda one: one.metadata["Name"] or ""):
        text = str(one.metadata.get_payload() or one.metadata.get("Description", ""))
        for part in text.split("\n\n"):
            plain = " ".join(part.split())
            if 80 < len(plain) < 600 and "http" not in plain and "|" not in plain:
                found[plain] = None
    return list(found)


def shot(
    window: Browser, html: str, name: str, *, dark: bool = False, then: str = "", size: tuple[int, int]
) -> None:
    """A picture of a page, after a script has run in it."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "page.html")
        file.write_text(html, encoding="utf-8")
        window.size(*size, dark=dark)
        window.open(file.as_uri())
        if 'id="panes"' in html:
            window.wait(READY)
        window.run(then)
        time.sleep(3)  # the browser draws in its own time
        window.screenshot(Path(place, "page.png"))
        small = (
            Image.open(Path(place, "page.png"))
            .convert("RGB")
            .quantize(COLORS, kmeans=2, dither=Image.Dither.NONE)
        )
        small.save(DOCS / name, optimize=True)
    print(f"{name}: {(DOCS / name).stat().st_size / 1000:.0f} kB")


def main() -> None:
    rows = docstrings()
    whole = make_map(pa.Table.from_pylist(rows), color="cluster")
    old = [row["text"] for row in rows][::3]
    both = [{"text": text, "texts": "old"} for text in old]
    both += [{"text": text, "texts": "new"} for text in descriptions()[: len(old)]]
    moved = make_map(pa.Table.from_pylist(both), color="texts")
    with tempfile.TemporaryDirectory() as place, browser(Path(place), webgl=True) as window:
        size = (1000, 600)
        shot(window, map_page(whole), "map.png", size=size)
        shot(window, map_page(whole), "map_search.png", dark=True, size=size, then=SEARCH)
        shot(window, map_page(moved), "drift.png", size=size)
        found = explain(StaticModel.load("english"), *PAIR)
        shot(window, explain_page(found), "explain.png", size=(860, 460))


if __name__ == "__main__":
    main()
