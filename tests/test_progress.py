import io
import os
import subprocess
import sys
import textwrap

import pytest

from statim import progress
from statim.progress import Progress

pty = pytest.importorskip("pty")

CODE = """
import time
from statim.progress import Progress
with Progress("encode", total=200, unit="texts", show={show}) as bar:
    for _ in range({steps}):
        time.sleep(0.05)
        bar.advance(5, "loss 0.5")
print("done")
"""


def on_a_terminal(code: str) -> tuple[str, str]:
    """Run ``code`` with a terminal as its standard error; gives what it wrote to its output and to the
    terminal.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out.decode(), seen.decode()


def test_a_bar_with_rate_after_a_second():
    out, seen = on_a_terminal(CODE.format(show=True, steps=40))
    assert out == "done\n"
    assert "encode" in seen
    assert "texts/s" in seen
    assert "%" in seen
    assert "loss 0.5" in seen


def test_nothing_within_the_first_second():
    assert on_a_terminal(CODE.format(show=True, steps=4)) == ("done\n", "")


def test_nothing_unasked():
    assert on_a_terminal(CODE.format(show=False, steps=25)) == ("done\n", "")


def test_nothing_without_a_terminal(capfd, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with Progress("encode", total=10, unit="texts", show=True) as bar:
        bar.advance(10)
    assert capfd.readouterr() == ("", "")
    assert bar.done == 10


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_unknown_total_and_errors_inside(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(KeyboardInterrupt), Progress("read", total=None, unit="rows", show=True) as bar:
        bar.advance(3)
        raise KeyboardInterrupt
    assert "read" in sys.stderr.getvalue()


def test_no_standard_error_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)  # as under pythonw
    with Progress("encode", total=1, unit="texts", show=True) as bar:
        bar.advance(1)
