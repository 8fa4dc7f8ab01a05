"""A campaign against one loader: damage a file, load, count; whatever is neither a value nor one sentence of
ours is a finding.

``python campaign.py LOADER COUNT SEED`` runs one in a process of its own and prints its figures as JSON.
"""

import base64
import contextlib
import json
import logging
import random
import signal
import sys
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

from loaders import LOADERS, Loader, check_message
from mutate import damaged

from statim.errors import StatimError

PATIENCE = 30  # seconds that one tiny input may take, on a busy machine
LARGE = 6 << 30  # bytes of address space that one may ask for
BY_NAME = {loader.name: loader for loader in LOADERS}


def place(name: str) -> tempfile.TemporaryDirectory:
    """A folder in memory, where there is such a thing."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="statim-fuzz-", dir=memory if memory.is_dir() else None)


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """What asks for far too much memory fails, and what takes far too long is interrupted."""
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + LARGE, before[1]))
    handler = signal.signal(signal.SIGALRM, _late)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def _late(*_: object) -> None:
    raise TimeoutError(f"more than {PATIENCE} s for one small input")


def replace(path: Path, data: bytes) -> None:
    """Put bytes into a new file: the old one may be mapped."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


class Target:
    """A whole thing in a folder, one of whose files is damaged at a time."""

    def __init__(self, loader: Loader, folder: Path) -> None:
        self.loader, self.folder = loader, folder
        loader.make(folder)
        names = loader.files or sorted(
            p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()
        )
        self.seeds = {name: (folder / name).read_bytes() for name in names}
        self.whole = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loader.load(folder)  # what is whole loads

    def load(self, name: str, data: bytes) -> bool:
        """Whether damaged data loads; False where it is refused as it should be.

        Raises:
            Exception: Anything else: a finding.
        """
        replace(self.folder / name, data)
        try:
            if self.loader.mend is not None:
                self.loader.mend(self.folder, name)
            if hasattr(signal, "alarm"):
                signal.alarm(PATIENCE)
            try:
                self.loader.load(self.folder)
            except StatimError as error:
                check_message(error)
                return False
            return True
        finally:
            if hasattr(signal, "alarm"):
                signal.alarm(0)
            replace(self.folder / name, self.whole[self.folder / name])
            if self.loader.mend is not None and name != "index.json":
                replace(self.folder / "index.json", self.whole[self.folder / "index.json"])


def run(loader: Loader, count: int, seed: int, trace: Path | None = None) -> dict[str, int]:
    """The figures of a campaign.

    Args:
        loader: What to try.
        count: How many inputs.
        seed: Decides them.
        trace: Where each input is written before it is tried, for one that ends the process.

    Raises:
        AssertionError: There is a finding; the message holds the input.
    """
    chance, figures = random.Random(f"{seed} {loader.name}"), {"tried": 0, "refused": 0, "loaded": 0}
    logging.getLogger("statim").setLevel(logging.ERROR)
    with place(loader.name) as home, warnings.catch_warnings(), bounded():
        warnings.simplefilter("ignore")
        target = Target(loader, Path(home))
        names, contents = list(target.seeds), list(target.seeds.values())
        for _ in range(count):
            name = chance.choice(names)
            data = damaged(target.seeds[name], contents, chance)
            if trace is not None:
                trace.write_text(told(loader, name, data))
            try:
                loaded = target.load(name, data)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                said = f"{type(error).__name__}: {str(error)[:300]}"
                raise AssertionError(f"{loader.name}: {said}\n{told(loader, name, data)}") from error
            figures["tried"] += 1
            figures["loaded" if loaded else "refused"] += 1
    return figures


def told(loader: Loader, name: str, data: bytes) -> str:
    """An input as a line of JSON, for the corpus."""
    packed = base64.b64encode(zlib.compress(data, 9)).decode()
    return json.dumps({"loader": loader.name, "file": name, "zlib": packed})


def again(line: str) -> tuple[Loader, str, bytes]:
    """What ``told`` wrote."""
    said = json.loads(line)
    return BY_NAME[said["loader"]], said["file"], zlib.decompress(base64.b64decode(said["zlib"]))


if __name__ == "__main__":
    trace = Path(sys.argv[4]) if len(sys.argv) > 4 else None
    figures = run(BY_NAME[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3]), trace)
    sys.stdout.write(json.dumps(figures) + "\n")
