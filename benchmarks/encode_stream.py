"""``statim encode`` from a compressed file to a file: speed, memory beyond the table, and a kill.

Texts are the documentation inside this Python installation, short (about 30 tokens), repeated with a
number in front, as JSON lines with gzip. Every run is a process of its own, from its start to its end.
After the measured run of each kind another is killed (SIGKILL) once a third of it is safe, and resumed;
the two files must be the same bytes. The last line is JSON.

    python benchmarks/encode_stream.py [--texts 1000000] [--dim 256] [--dtype float32]
        [--kinds npy,parquet] [--threads 2]
"""

import argparse
import gzip
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np

from packages import PACKAGES
from statim import StaticModel, threads
from statim.data.pairs.python_docs import python_docs
from statim.vocabulary import learn_wordpiece

# The process says its own peak: what the system reports of a child includes its parent's memory before it
# began.
PROGRAM = """
import os, sys
from statim.cli import main
from statim.data.files import resumable
resumable.SECONDS = float(os.environ["SECONDS_BETWEEN_SAVES"])
try:
    main()
finally:
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print("peak", int(status["VmHWM"].split()[0]) * 1024, file=sys.stderr)
"""


def write_corpus(path: Path, count: int) -> int:
    """``count`` texts, in a way that takes no memory; returns the bytes before compression."""
    texts = python_docs(PACKAGES).anchors.to_pylist()
    size = 0
    with gzip.open(path, "wb", compresslevel=1) as file:
        for start in range(0, count, 10_000):
            rows = range(start, min(count, start + 10_000))
            lines = (json.dumps({"text": f"{i} {texts[i % len(texts)]}"}, ensure_ascii=False) for i in rows)
            size += file.write(("\n".join(lines) + "\n").encode())
    return size


def write_model(path: Path, dim: int) -> int:
    """A random table for a tokenizer learned from the texts; returns the table's bytes."""
    pairs = python_docs(PACKAGES)
    tokenizer = learn_wordpiece([pairs.anchors, pairs.positives])
    table = np.random.default_rng(0).standard_normal((tokenizer.vocabulary_size, dim)).astype(np.float32)
    StaticModel(table, tokenizer).save(path)
    return table.nbytes


def start(command: list[str], seconds: float) -> "subprocess.Popen[str]":
    environment = os.environ | {"SECONDS_BETWEEN_SAVES": str(seconds)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *command], env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True
    )  # fmt: skip


def finish(process: "subprocess.Popen[str]") -> tuple[dict[str, Any], int]:
    """The figures it printed, and its peak of memory."""
    out, err = process.communicate()
    if process.returncode != 0:
        sys.exit(err)
    return json.loads(out), int(err.split("peak ")[1])


def kill_and_resume(command: list[str], out: Path, count: int) -> int:
    """Returns how many texts were safe at the kill."""
    process = start(command, 0.2)
    progress = out.with_name(out.name + ".encoding") / "progress.json"
    safe = 0
    while process.poll() is None and safe < count // 3:
        time.sleep(0.02)
        if progress.exists():
            safe = json.loads(progress.read_text())["texts"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    figures, _ = finish(start([*command, "--resume"], 10))
    return int(figures["resumed_at"])


def hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--kinds", default="npy,parquet")
    parser.add_argument("--threads", type=int, default=threads.count())
    parser.add_argument("--no-kill", action="store_true", help="only the measured runs")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        corpus, model = Path(folder) / "corpus.jsonl.gz", Path(folder) / "model"
        table = write_model(model, arguments.dim)
        size = write_corpus(corpus, arguments.texts)
        for kind in arguments.kinds.split(","):
            out = Path(folder) / f"vectors.{kind}"
            command = [
                "encode", str(model), str(corpus), "--out", str(out), "--dtype", arguments.dtype, "--json",
                "--threads", str(arguments.threads),
            ]  # fmt: skip
            figures, peak = finish(start(command, 10))
            seconds = figures["seconds"]
            row = {
                "kind": kind, "seconds": seconds, "texts_per_second": figures["texts_per_second"],
                "mb_per_second": round(size / seconds / 1e6, 1),
                "out_mb_per_second": round(out.stat().st_size / seconds / 1e6, 1),
                "peak_mb_beyond_the_table": round((peak - table) / 1e6),
            }  # fmt: skip
            print(
                f"{kind:8} {row['texts_per_second']:>9,} texts/s {row['mb_per_second']:>7} MB/s of text "
                f"{row['out_mb_per_second']:>7} MB/s written; {row['peak_mb_beyond_the_table']} MB "
                "beyond the table",
                flush=True,
            )
            whole = hashed(out)
            out.unlink()
            if not arguments.no_kill:
                row["resumed_at"] = kill_and_resume(command, out, arguments.texts)
                row["resumed_is_identical"] = hashed(out) == whole
                out.unlink()
                print(
                    f"{kind:8} killed and resumed at {row['resumed_at']:,}: "
                    f"{'the same bytes' if row['resumed_is_identical'] else 'OTHER BYTES'}",
                    flush=True,
                )
            rows.append(row)
    result = {
        "benchmark": "encode_stream", "machine": platform.processor() or platform.machine(),
        "threads": arguments.threads,
        "texts": arguments.texts, "dim": arguments.dim, "dtype": arguments.dtype, "rows": rows,
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
