"""A map of 100,000 texts: the command's time and file, and the page in headless Chromium.

    python benchmarks/map.py DATA [--texts 100000] [--method pacmap]

DATA holds train/arxiv (pairs of titles and abstracts; the titles are mapped). The command runs twice: numba
compiles PaCMAP's loops once per installation. Chromium draws on the processor, without a GPU; figures of the
page are the medians of three loads.
"""

import argparse
import gzip
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from browser import Browser, browser, missing

READY = "typeof state !== 'undefined' && state.loaded === state.panes.length && state.panes.length > 0"
STEPS = 20
STEP = """
const pane = state.panes[0];
pane.view = {...pane.view, zoom: pane.view.zoom + 0.05};
pane.deck.setProps({initialViewState: {...pane.view}});
pane.moved(pane.view);
pane.deck.redraw("step");
"""


def titles(data: Path, count: int, path: Path) -> None:
    with gzip.open(data / "train" / "arxiv" / "train.jsonl.gz", "rt", encoding="utf-8") as source:
        rows = [json.loads(line) for line in itertools.islice(source, count)]
    lines = (
        json.dumps({"text": row["anchor"], "words": len(row["positive"].split())}) + "\n" for row in rows
    )
    path.write_text("".join(lines), encoding="utf-8")


def command(texts: Path, out: Path, method: str) -> dict[str, float]:
    """Wall and processor seconds of the command, as a new process."""
    words = [sys.executable, "-m", "statim", "map", texts, "--out", out, "--method", method, "--overwrite"]
    before, start = os.times(), time.perf_counter()
    done = subprocess.run([*words, "--json"], check=True, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    figures = json.loads(done.stdout)
    return {"wall": wall, "processor": spent, "MB": figures["bytes"] / 1e6, **figures["seconds"]}


def page(path: Path, window: Browser) -> dict[str, float]:
    """Milliseconds until the first picture, and of one frame while the map is dragged."""
    found = []
    for _ in range(3):
        window.open("about:blank")
        window.open(path.as_uri())
        window.wait(READY)
        window.wait("state.panes.every((pane) => pane.deck.layerManager && !pane.deck.needsRedraw())")
        found.append(window.run("return performance.now()"))
    start = time.perf_counter()
    for _ in range(STEPS):
        window.run(STEP)
    spent = (time.perf_counter() - start) / STEPS
    searched = window.run(
        "const start = performance.now(); search('quantum'); return performance.now() - start"
    )
    assert window.errors() == []
    return {
        "first picture": statistics.median(found), "frame": 1000 * spent, "search": searched,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--method", default="pacmap")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        texts, out = Path(place, "titles.jsonl"), Path(place, "map.html")
        titles(asked.data, asked.texts, texts)
        for run in ("first", "second"):
            figures = command(texts, out, asked.method)
            told = ", ".join(f"{name} {value:.1f}" for name, value in figures.items())
            print(f"{run} run of {asked.texts:,} texts ({asked.method}): {told}", flush=True)
        if why := missing():
            print(why)
            return
        with browser(Path(place, "profile"), webgl=True) as window:
            window.size(1280, 800)
            told = ", ".join(f"{name} {value:.0f} ms" for name, value in page(out, window).items())
            print(f"page: {told}")


if __name__ == "__main__":
    main()
