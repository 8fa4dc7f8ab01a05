"""Injects faults into statim's commands, one at every change they make to files, and looks at what is left.

    LD_PRELOAD=shim.so python harness.py SCRATCH STRIDE KIND CASE...

A process that has statim imported forks a child for every fault, so that none pays for the imports, and
one more that looks at what the fault has left, tries again, and looks once more. Prints a line of JSON for
each case. Kinds are those of ``KINDS``.
"""

import atexit
import contextlib
import ctypes
import errno
import hashlib
import importlib
import io
import json
import os
import pickle
import re
import shutil
import signal
import struct
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cases import CASES, Case, Command, said, write_inputs

from statim.errors import StatimError

FIRST, PATIENCE = 280, 60  # seconds after which a child hangs; the first ones may have to compile
COUNT, FAIL, FULL, SHORT, KILL_BEFORE, KILL_AFTER, KILL_HALF = range(7)  # as in shim.c
(OPEN, WRITE, SYNC, RENAME, LINK, SYMLINK, UNLINK, MKDIR, TRUNCATE, COPY, CHMOD) = range(11)
OPERATIONS = (
    "open",
    "write",
    "sync",
    "rename",
    "link",
    "symlink",
    "unlink",
    "mkdir",
    "truncate",
    "copy",
    "chmod",
)
PATHS = {OPEN, RENAME, LINK, SYMLINK, UNLINK, MKDIR, CHMOD}
BYTES = {WRITE, COPY}

# What can go wrong: the shim's action, the error, and the operations at which it can happen
KINDS: dict[str, list[tuple[int, int, set[int]]]] = {
    "kill": [(KILL_BEFORE, 0, set(range(11))), (KILL_AFTER, 0, set(range(11))), (KILL_HALF, 0, BYTES)],
    "full disk": [(FAIL, errno.ENOSPC, set(range(11)) - {UNLINK, CHMOD}),
        (FULL, errno.ENOSPC, set(range(11)) - {UNLINK, SYNC, CHMOD})],
    "EIO": [(FAIL, errno.EIO, set(range(11)))],
    "EACCES": [(FAIL, errno.EACCES, PATHS)],
    "short write": [(SHORT, 0, BYTES)],
}  # fmt: skip

HEAD = struct.Struct("iiqqqii")  # shim.c's struct record


class Record(NamedTuple):
    """One change of files, as the shim writes it down."""

    operation: int
    flags: int
    call: int
    offset: int
    length: int
    first: str
    second: str
    data: bytes | None


@dataclass
class Figures:
    """What became of the faults of one kind in one case."""

    case: str
    kind: str
    calls: int = 0  # changes of files that an undisturbed run makes
    tried: int = 0
    finished: int = 0  # the command ended well all the same
    refused: int = 0  # it said one sentence
    old: int = 0  # what was found afterwards
    new: int = 0
    leftovers: int = 0  # files that stayed beside the result once it was made
    failures: list[str] = field(default_factory=list)


def records(path: Path) -> list[Record]:
    found, content, at = [], path.read_bytes(), 0
    while at < len(content):
        operation, flags, call, offset, length, first, second = HEAD.unpack_from(content, at)
        at += HEAD.size
        names = content[at : at + first], content[at + first : at + first + second]
        at += first + second
        data, length = (content[at : at + length], length) if length >= 0 else (None, -length - 1)
        at += len(data or b"")
        found.append(
            Record(operation, flags, call, offset, length, *(os.fsdecode(name) for name in names), data)
        )
    return found


class Shim:
    """The library that LD_PRELOAD has put into this process, and its children."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.fault_calls.restype = self._library.fault_fired.restype = ctypes.c_long
        self.begin(Path("/nowhere"))
        self._library.fault_stop()

    def begin(self, folder: Path, log: Path | None = None, *, data: bool = False) -> None:
        self._library.fault_begin(os.fsencode(folder), None if log is None else os.fsencode(log), int(data))

    def arm(self, call: int, action: int, error: int) -> None:
        self._library.fault_arm(ctypes.c_long(call), action, error)

    def stop(self) -> None:
        self._library.fault_stop()

    @property
    def calls(self) -> int:
        return int(self._library.fault_calls())

    @property
    def fired(self) -> int:
        return int(self._library.fault_fired())


class Outcome(NamedTuple):
    """How a child ended."""

    code: int  # its exit code; negative: the signal that ended it
    output: str

    @property
    def sentence(self) -> bool:
        """Did it end with exit code 2 and one sentence?"""
        errors = [line for line in self.output.splitlines() if line.startswith("error: ")]
        return self.code == 2 and len(errors) == 1 and "Traceback" not in self.output


class Harness:
    """A folder to work in, below ``scratch``: inputs, the watched folder, and what stood there before a
    command.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch.resolve()
        self.here, self.old, self.output = (
            self.scratch / "watched",
            self.scratch / "old",
            self.scratch / "output",
        )
        self.shim, self.patience = Shim(), FIRST
        if not (self.scratch / "inputs").exists():
            (self.scratch / "inputs").mkdir(parents=True)
            self.child(lambda: write_inputs(self.scratch / "inputs"))
        os.environ |= {"STATIM_CACHE": str(self.here / ".cache"), "TMPDIR": str(self.here / ".tmp")}
        os.environ |= {
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "STATIM_NUM_THREADS": "2",
            "NUMBA_NUM_THREADS": "2",
        }

    def child(self, work: Callable[[], object], before: Callable[[], None] = lambda: None) -> Outcome:
        """Run ``work`` in a child, as the command line runs a command."""
        with self.output.open("w+b") as output:
            process = os.fork()
            if process == 0:
                self._inside(work, before, output.fileno())
            _, status = os.waitpid(process, 0)
            output.seek(0)
            text = output.read().decode(errors="replace")
        return Outcome(os.waitstatus_to_exitcode(status), text)

    def _inside(self, work: Callable[[], object], before: Callable[[], None], output: int) -> None:
        code = 1
        try:
            signal.alarm(self.patience)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.chdir(self.scratch)
            before()
            try:
                work()
                code = 0
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else 0
            except StatimError as error:
                sys.stderr.write(f"error: {error}\n")
                code = 2
            threading._shutdown()  # what a process does when it ends
            atexit._run_exitfuncs()
        except BaseException:
            self.shim.stop()
            traceback.print_exc()
        self.shim.stop()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def command(self, command: Command) -> Callable[[], None]:
        """A command line or a function, to be run in a child."""
        if callable(command):
            return lambda: command(self.here)
        places = {"IN": str(self.scratch / "inputs"), "HERE": str(self.here)}
        words = [
            part if "/" not in part else "/".join(places.get(p, p) for p in part.split("/"))
            for part in command
        ]

        def run() -> None:
            from statim.cli import main

            sys.argv = ["statim", *words]
            main()

        return run

    def ask(self, question: Callable[[], object]) -> object:
        """What a child answers."""
        place = self.scratch / "answer"
        place.unlink(missing_ok=True)
        outcome = self.child(lambda: place.write_bytes(pickle.dumps(question())))
        if outcome.code:
            return f"the check ended with {outcome.code}: {outcome.output[-1500:]}"
        return pickle.loads(place.read_bytes())

    def reset(self) -> None:
        """Put back what stood there before the command."""
        shutil.rmtree(self.here, ignore_errors=True)
        shutil.copytree(self.old, self.here, symlinks=True)
        (self.here / ".tmp").mkdir(exist_ok=True)

    def prepare(self, case: Case) -> None:
        """Make the old state of a case, and load what all its children need."""
        self.patience = FIRST
        for module in ("statim.cli", "statim.search.stores.folder", "statim.data.files.writing", *case.heavy):
            importlib.import_module(module)
        for module, name, value in case.patches:
            setattr(importlib.import_module(module), name, value)
        for folder in (self.here, self.old):
            shutil.rmtree(folder, ignore_errors=True)
        (self.here / ".tmp").mkdir(parents=True)
        for command in case.before:
            outcome = self.child(self.command(command))
            assert outcome.code == 0, outcome.output
        self.here.rename(self.old)
        for command in filter(None, (case.run, *case.again, case.then)):
            self.reset()
            self._load_all(self.ask(lambda command=command: self._used(command)))
        self._warm(case)
        self.reset()
        self.patience = PATIENCE

    def _warm(self, case: Case) -> None:
        """Do here, once, what every child would do for itself at its first command."""
        import typer

        import statim.cli
        from statim.identity import Identities

        if isinstance(statim.cli.app, typer.Typer):
            statim.cli.train.add_options()
            statim.cli.app = typer.main.get_command(statim.cli.app)
        Identities()(np.arange(3, dtype=np.uint64).repeat(2).reshape(-1, 2))  # numba reads its registries
        if case.warm:
            self.reset()
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                assert self.code(self.command(case.run)) == 0

    @staticmethod
    def code(run: Callable[[], object]) -> int:
        """Run a command in this process; its exit code."""
        try:
            run()
        except SystemExit as error:
            return error.code if isinstance(error.code, int) else 0
        except StatimError as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
        return 0

    def _used(self, command: Command) -> list[str]:
        """The modules that a command imports on its way."""
        with contextlib.suppress(BaseException):
            self.command(command)()
        return list(sys.modules)

    def _load_all(self, names: list[str]) -> None:
        for name in names:
            with contextlib.suppress(Exception):
                importlib.import_module(name)


class Walk:
    """One case, and what an undisturbed run makes of it."""

    def __init__(self, harness: Harness, name: str) -> None:
        self.harness, self.name, self.case = harness, name, CASES[name]
        harness.prepare(self.case)
        self.old = self.look()
        log = harness.scratch / "log"
        log.unlink(missing_ok=True)
        outcome = self.run(lambda: harness.shim.begin(harness.here, log))
        assert outcome.code == 0, outcome.output
        self.operations = {record.call: record.operation for record in records(log)}
        self.calls = harness.shim.calls
        self.new, self.names = self.look(), self.listed()
        assert (self.new == self.old) is self.case.tidies, (self.new, outcome)
        assert re.fullmatch("[0-9a-f]{16}", self.new), self.new
        self.after = self.changed() if self.case.then else ""

    def run(self, before: Callable[[], None]) -> Outcome:
        return self.harness.child(self.harness.command(self.case.run), before)

    def look(self) -> str:
        """What stands there, looked at by a child of its own."""
        return str(self.harness.ask(lambda: self._seen()))

    def _seen(self) -> str:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return self.case.look(self.harness.here)
        except StatimError as error:
            return said(error)

    def listed(self) -> set[str]:
        """The names beside the result, less those of caches, and hidden ones inside of it."""
        names = {path.name for path in self.harness.here.iterdir()} - {".cache"}
        below = [
            path
            for path in self.harness.here.iterdir()
            if path.is_dir() and path.name not in (".cache", ".tmp")
        ]
        marked = {path.name for folder in below for path in folder.rglob(".*")}
        temporary = {f".tmp/{path.name}" for path in (self.harness.here / ".tmp").glob("*")}
        return (names | marked | temporary) - set(self.case.spare)

    def changed(self) -> str:
        """Make the further change in this process's child, and look."""
        return str(self.harness.ask(lambda: self._afterwards(self.case.then)))

    def _afterwards(self, command: Command) -> str:
        code = self.harness.code(self.harness.command(command))
        return self._seen() if code == 0 else f"broken: a further change ended with {code}"

    def again(self) -> str:
        """Run the command once more, undisturbed, and look; in a child."""
        for command in self.case.again or (self.case.run,):
            if self.harness.code(self.harness.command(command)) == 0:
                return self._seen()
        return "broken: no command ended well"

    def points(self, kind: str, stride: int) -> Iterator[tuple[int, int, int, str]]:
        """The faults: a call, what happens there, which error, and what the call was."""
        for place, (action, error, where) in enumerate(KINDS[kind]):
            # dead after a call is as good as dead before the next one, unless threads write beside each
            # other; a disk that stays full is much like one that is full once
            every = stride * {KILL_AFTER: 4, FULL: 2}.get(action, 1)
            calls = [call for call, operation in self.operations.items() if operation in where]
            for call in calls[place % min(every, len(calls) or 1) :: every]:
                yield call, action, error, OPERATIONS[self.operations[call]]

    def walk(self, kind: str, stride: int) -> Figures:
        """Inject faults of one kind at one call in so many."""
        self.figures = Figures(self.name, kind, self.calls)
        stride *= self.case.stride
        for call, action, error, what in self.points(kind, stride):
            self.one(call, action, error, what)
        if kind == "kill":
            for call in range(1 + stride // 2, self.calls + 1, stride):
                self.twice(call)
        return self.figures

    def one(self, call: int, action: int, error: int, what: str) -> None:
        harness, figures = self.harness, self.figures
        harness.reset()
        outcome = self.run(lambda: (harness.shim.begin(harness.here), harness.shim.arm(call, action, error)))
        if not harness.shim.fired and action not in (KILL_AFTER,) and outcome.code != -signal.SIGKILL:
            return  # this time there were fewer calls, or the call had nothing to cut short
        figures.tried += 1
        verb = {
            KILL_BEFORE: "killed before",
            KILL_AFTER: "killed after",
            KILL_HALF: "killed in the midst of",
        }.get(action, f"{errno.errorcode.get(error, 'short')} {'from' if action == FULL else 'at'}")
        self.judge(f"{verb} call {call} ({what})", outcome, killed=action >= KILL_BEFORE)

    def twice(self, first: int) -> None:
        """Kill the command, and then kill what would mend it."""
        harness, figures = self.harness, self.figures
        second = 1 + int(hashlib.sha256(f"{self.name} {first}".encode()).hexdigest(), 16) % self.calls
        harness.reset()
        self.run(lambda: (harness.shim.begin(harness.here), harness.shim.arm(first, KILL_BEFORE, 0)))
        state = self.look()
        repeat = (
            (self.case.again or (self.case.run,))[0]
            if state in (self.old, "unfinished")
            else self.case.then or self.case.run
        )
        outcome = harness.child(
            harness.command(repeat),
            lambda: (harness.shim.begin(harness.here), harness.shim.arm(second, KILL_BEFORE, 0)),
        )
        figures.tried += 1
        self.judge(
            f"killed before call {first} and, when repeated, before call {second}",
            outcome,
            killed=True,
            states=(self.after,),
        )

    def judge(self, fault: str, outcome: Outcome, *, killed: bool, states: Iterable[str] = ()) -> None:
        """Is the old or the new state there whole? Does a redo give what an undisturbed run gives?"""
        figures = self.figures
        if outcome.code == -signal.SIGKILL and killed:
            pass
        elif outcome.code == 0:
            figures.finished += 1
        elif outcome.sentence:
            figures.refused += 1
        elif outcome.code == -signal.SIGALRM:
            self.fail(fault, "the command hung")
        elif outcome.code < 0:
            self.fail(fault, f"the command died of signal {-outcome.code}")
        else:
            self.fail(fault, f"exit code {outcome.code}, no sentence: {outcome.output.strip()[-400:]}")
        answer = self.harness.ask(self._judged)
        if not isinstance(answer, tuple):
            self.fail(fault, str(answer))
            return
        found, redone, left = answer
        if found in (self.old, "unfinished"):
            figures.old += 1
            if outcome.code == 0 and not self.case.tidies:
                self.fail(fault, "the command ended well, but nothing was changed")
        elif found == self.new or found in states:
            figures.new += 1
        else:
            self.fail(fault, f"neither old nor new: {found}")
        if found in (self.old, "unfinished") and redone != self.new:
            self.fail(fault, f"done again, it gave {redone}")
        if found == self.new != self.old and self.case.then and redone != self.after:
            self.fail(fault, f"a further change gave {redone}")
        figures.leftovers += len(left)

    def _judged(self) -> tuple[str, str, list[str]]:
        found = self._seen()
        if found in (self.old, "unfinished"):
            redone = self.again()
        elif found == self.new and self.case.then:
            redone = self._afterwards(self.case.then)
        else:
            redone = found
        return found, redone, sorted(self.listed() - self.names)

    def fail(self, fault: str, what: str) -> None:
        self.figures.failures.append(f"{fault}: {what}")


def main() -> None:
    scratch, stride, kinds, names = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(","), sys.argv[4:]
    warnings.simplefilter("ignore")
    harness = Harness(scratch)
    for name in names:
        walk = Walk(harness, name)
        for kind in kinds:
            started = time.monotonic()
            figures = walk.walk(kind, stride)
            sys.stdout.write(
                json.dumps(asdict(figures) | {"seconds": round(time.monotonic() - started, 1)}) + "\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
