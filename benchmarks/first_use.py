"""What compiling costs the first time: each verb with an empty cache, and then with a full one.

    python benchmarks/first_use.py [--pairs 5000] [--verbs train,mine] [--kernels]

Each verb begins with an empty cache of compiled code; code that was prepared stays. The figures are processor
seconds of whole processes. A third run, again from an empty cache, counts what numba compiles; ``--kernels``
lists all of it, the slowest first. Each line is JSON.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from from_disk import write_pairs
from packages import PACKAGES
from statim.data.pairs.python_docs import python_docs

RUN = "import sys; from statim.cli import main; sys.argv[0] = 'statim'; main()"
# Seconds of a kernel are without those of the helpers that are compiled while it is
TRACED = """
import atexit, json, os, sys, time
from numba.core import event
class Compiled(event.Listener):
    def __init__(self):
        self.stack, self.rows = [], []
    def on_start(self, event):
        self.stack.append([time.process_time(), 0.0])
    def on_end(self, event):
        began, inside = self.stack.pop()
        took = time.process_time() - began
        if self.stack:
            self.stack[-1][1] += took
        function = event.data["dispatcher"].py_func
        name = f"{function.__module__}.{function.__qualname__}"
        self.rows.append([name, str(event.data["args"]), round(took - inside, 3), len(self.stack)])
listener = Compiled()
event.register("numba:compile", listener)
atexit.register(lambda: open(os.environ["COMPILED"], "w").write(json.dumps(listener.rows)))
"""


def material(folder: Path, most: int, packages: list[str] = PACKAGES) -> int:
    """Write what the verbs read, from Python's documentation; gives the number of pairs."""
    os.environ["STATIM_CACHE"] = str(folder / "cache")
    pairs = python_docs(packages)
    pairs = pairs.select(range(min(most, len(pairs))))
    write_pairs(pairs, folder / "pairs.jsonl")
    texts = [" ".join(text.split()) for text in pairs.positives.to_pylist()]
    (folder / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    (folder / "questions.txt").write_text("\n".join(texts[:2000]) + "\n", encoding="utf-8")
    return len(pairs)


def verbs(folder: Path) -> dict[str, list[str]]:
    """The arguments of each verb; what a later one needs, an earlier one has made."""
    pairs, texts = str(folder / "pairs.jsonl"), str(folder / "texts.txt")
    index = str(folder / "index")
    return {
        "train": ["train", pairs, "--start", "random", "-o", str(folder / "trained"), "--overwrite"],
        "mine": ["mine", pairs, "-o", str(folder / "mined.jsonl"), "--overwrite"],
        "index build": ["index", "build", texts, "-o", index, "--overwrite"],
        "search": ["search", index, "how do I sort a list?"],
        "search, 2,000 questions": ["search", index, "--queries", str(folder / "questions.txt")],
        "encode": ["encode", texts, "-o", str(folder / "vectors.npy"), "--overwrite"],
        "duplicates": ["duplicates", texts, "-o", str(folder / "groups.jsonl"), "--overwrite"],
    }


def run(arguments: list[str], cache: Path, program: str = RUN, **environment: str) -> float:
    """Processor seconds of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)} | environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"statim {' '.join(arguments)} failed: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measured(arguments: list[str], kernels: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as other:
        first, warm = (run(arguments, Path(cache)) for _ in range(2))
        listed = Path(other) / "compiled.json"
        run(arguments, Path(other), TRACED + RUN, COMPILED=str(listed))
        rows = json.loads(listed.read_text(encoding="utf-8"))
    compiled = {name for name, *_ in rows}
    result: dict[str, Any] = {
        "first": round(first, 2), "warm": round(warm, 2), "added": round(first - warm, 2),
        "compiled": len(rows), "functions": len(compiled),
        "inside_others": sum(1 for *_, depth in rows if depth),
        "seconds": round(sum(row[2] for row in rows), 2),
    }  # fmt: skip
    if kernels:
        result["kernels"] = sorted(rows, key=lambda row: -row[2])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument("--verbs", help="some of them, by commas")
    parser.add_argument("--kernels", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pairs = material(Path(folder), asked.pairs)
        for verb, arguments in verbs(Path(folder)).items():
            if asked.verbs is None or verb.partition(" ")[0] in asked.verbs.split(","):
                found = measured(arguments, asked.kernels)
                about = {"benchmark": "first_use", "verb": verb, "pairs": pairs}
                machine = {"machine": platform.processor() or platform.machine()}
                print(json.dumps(about | machine | found), flush=True)


if __name__ == "__main__":
    main()
