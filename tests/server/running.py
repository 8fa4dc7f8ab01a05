"""A real server: a process of the command line, asked over its socket."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Running:
    """A server that runs."""

    url: str
    process: "subprocess.Popen[str]"
    log_path: Path

    def log(self) -> list[dict]:
        return [json.loads(line) for line in self.log_path.read_text().splitlines() if line.startswith("{")]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@contextlib.contextmanager
def running(log_path: Path, *arguments: object, verb: str = "serve", **environment: str) -> Iterator[Running]:
    if verb == "serve" and "--timeout" not in arguments:
        arguments += ("--timeout", 120)  # for machines that are busy
    command = [sys.executable, "-m", "statim", verb, *map(str, arguments), "--port", "0", "--json"]
    path = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    with log_path.open("w") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True,
            env={**os.environ, "PYTHONPATH": path, **environment},
        )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, log_path.read_text()
        yield Running(json.loads(line)["url"], process, log_path)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
