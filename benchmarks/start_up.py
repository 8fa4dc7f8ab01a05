"""How long a cold process takes, and what memory: the help, an import, a first vector. The last line is JSON.

python benchmarks/start_up.py [--rounds 15]
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from packages import PACKAGES
from statim import StaticModel
from statim.data.pairs.python_docs import python_docs
from statim.vocabulary import learn_wordpiece


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    pairs = python_docs(PACKAGES)
    tokenizer = learn_wordpiece([pairs.anchors, pairs.positives])
    table = np.random.default_rng(0).standard_normal((tokenizer.vocabulary_size, 256)).astype(np.float32)
    table[tokenizer.unknown_id] = 0
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model")
        StaticModel(table, tokenizer).save(path)
        first = f"import {{0}}; {{0}}.StaticModel.{{1}}({path!r}).encode('how do I sort a list?')"
        programs = {
            "python -c pass": "pass",
            "statim --help": (
                "import sys; sys.argv = ['statim', '--help']; from statim.cli import main; main()"
            ),
            "import statim": "import statim",
            "statim, first vector": first.format("statim", "load"),
            "model2vec, first vector": first.format("model2vec", "from_pretrained"),
        }
        # its own peak: what the system reports of a child includes its parent's memory before it began
        peak = "; import re; print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"
        seconds: dict[str, list[float]] = {name: [] for name in programs}
        memory = {}
        for _ in range(arguments.rounds):
            for name, program in programs.items():
                started = time.perf_counter()
                subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
                seconds[name].append(time.perf_counter() - started)
        if Path("/proc/self/status").exists():
            for name, program in programs.items():
                done = subprocess.run(
                    [sys.executable, "-c", program.partition("; main()")[0] + peak],
                    check=True,
                    capture_output=True,
                )
                memory[name] = round(int(done.stdout) / 1000, 1)
    medians = {name: round(statistics.median(taken), 3) for name, taken in seconds.items()}
    for name, median in medians.items():
        print(f"{name:24} {median:.3f} s  {memory.get(name, 0):6.1f} MB at most")
    machine = platform.processor() or platform.machine()
    print(
        json.dumps(
            {
                "benchmark": "start_up",
                "machine": machine,
                "tokens": len(table),
                "seconds": medians,
                "peak_mb": memory,
            }
        )
    )


if __name__ == "__main__":
    main()
