"""What a power failure can leave of statim's commands: replays only what was flushed, and what may have come
to the disk by itself.

    LD_PRELOAD=shim.so python power.py SCRATCH CASE...

The shim writes down every change that a command makes to files. Of a prefix of them, what is certain to
survive is this: a file's bytes up to its last fsync, and a folder's names up to the folder's last fsync.
All later changes may or may not have come to the disk, in any order. Of these possibilities some are tried
after every change: none of them, all of them with or without the bytes that were not flushed, each alone,
and all but each. Journals of today's file systems keep the order of names: what they can leave, every
number of the first changes, is told apart.
"""

import hashlib
import json
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import harness
from cases import CASES
from harness import COPY, LINK, MKDIR, OPEN, RENAME, SYNC, TRUNCATE, UNLINK, WRITE, Harness, Record, Walk

EXCHANGE, FOLDER, CREATED, TRUNCATED, NAMELESS = 2, 1, 1, 2, 4
MOST = 16  # changes not flushed of which each alone, and all but each, are tried


@dataclass(eq=False)
class Node:
    """A file or a folder; ``content`` and ``names`` are what a program sees, the others what is safe."""

    folder: bool
    content: bytes = b""
    flushed: bytes = b""
    names: dict[str, "Node"] = field(default_factory=dict)
    safe: dict[str, "Node"] = field(default_factory=dict)


Change = list[tuple[Node, str, Node | None]]  # names that one call gives and takes, in folders


class Disk:
    """A folder and all below it, as a program sees it and as it is safe on the disk."""

    def __init__(self, folder: Path) -> None:
        self._place, self.root = folder, self._read(folder)
        self.pending: list[Change] = []

    def _read(self, path: Path) -> Node:
        if path.is_dir():
            names = {child.name: self._read(child) for child in path.iterdir()}
            return Node(True, names=names, safe=dict(names))
        content = path.read_bytes()
        return Node(False, content, content)

    def _find(self, path: str) -> tuple[Node, str]:
        """The folder and name of a path."""
        node, parts = self.root, Path(path).relative_to(self._place).parts
        for part in parts[:-1]:
            node = node.names[part]
        return node, parts[-1] if parts else ""

    def _node(self, path: str) -> Node:
        folder, name = self._find(path)
        if name and name not in folder.names:
            # some of Rust's libraries rename by a call to the kernel of their own, which the shim does not
            # see
            old = next(other for other in reversed(folder.names) if other.startswith(".tmp"))
            self._change((str(Path(path).with_name(old)), None), (path, folder.names[old]))
            if old in folder.safe:  # the folder was flushed meanwhile
                self._settle(self.pending[-1:])
        return folder.names[name] if name else folder

    def _change(self, *names: tuple[str, Node | None]) -> None:
        change: Change = []
        for path, node in names:
            folder, name = self._find(path)
            change.append((folder, name, node))
        for folder, name, node in change:
            _put(folder.names, name, node)
        self.pending.append(change)

    def apply(self, record: Record) -> None:
        """Do what a program did."""
        operation, path = record.operation, record.first
        if path.endswith(" (deleted)") or (operation == OPEN and record.flags & NAMELESS):
            return
        if operation == OPEN and record.flags & CREATED:
            self._change((path, Node(False)))
        elif operation == OPEN and record.flags & TRUNCATED:
            self._node(path).content = b""
        elif operation in (WRITE, COPY):
            assert record.data is not None, "stdio's writes are not written down"
            node, end = self._node(path), record.offset + record.length
            node.content = (
                node.content[: record.offset].ljust(record.offset, b"\0") + record.data + node.content[end:]
            )
        elif operation == TRUNCATE:
            node = self._node(path)
            node.content = node.content[: record.flags].ljust(record.flags, b"\0")
        elif operation == MKDIR:
            self._change((path, Node(True)))
        elif operation == LINK:
            self._change((record.second, self._node(path)))
        elif operation == UNLINK:
            self._change((path, None))
        elif operation == RENAME:
            other = self._node(record.second) if record.flags & EXCHANGE else None
            node = self._node(path)
            self._change((path, other), (record.second, node))
        elif operation == SYNC:
            self._flush(self._node(path), record.data or b"")

    def _flush(self, node: Node, content: bytes) -> None:
        if node.folder:
            self._settle(
                [change for change in self.pending if any(folder is node for folder, _, _ in change)]
            )
        else:
            node.content = node.flushed = content

    def _settle(self, changes: list[Change]) -> None:
        """These changes of names are safe from now on."""
        self.pending = [change for change in self.pending if not any(change is other for other in changes)]
        for folder, name, node in (entry for change in changes for entry in change):
            _put(folder.safe, name, node)

    def states(self) -> Iterator[tuple[list[Change], bool, bool]]:
        """What may be found after a power failure now: changes of names, whether all bytes are there, and
        whether in their order.
        """
        yield self.pending, True, True
        for count in {0, len(self.pending), *range(max(0, len(self.pending) - MOST), len(self.pending))}:
            yield self.pending[:count], False, True
        if len(self.pending) > 1:
            for change in self.pending[-MOST:]:
                yield [change], False, False
                yield [other for other in self.pending if other is not change], False, False

    def tree(self, changes: list[Change], whole: bool) -> dict[str, bytes | None]:
        """Files (and folders: None) by their paths, when some changes came to the disk and others did not."""
        extra: dict[int, list[tuple[str, Node | None]]] = {}
        for folder, name, node in (entry for change in changes for entry in change):
            extra.setdefault(id(folder), []).append((name, node))
        found: dict[str, bytes | None] = {}

        def visit(node: Node, path: str, depth: int) -> None:
            names = dict(node.safe)
            for name, other in extra.get(id(node), ()):
                _put(names, name, other)
            for name, other in sorted(names.items()):
                below = f"{path}{name}"
                found[below] = None if other.folder else other.content if whole else other.flushed
                if other.folder and depth < 20:
                    visit(other, below + "/", depth + 1)

        visit(self.root, "", 0)
        return found


def _put(names: dict[str, Node], name: str, node: Node | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


@dataclass
class Losses:
    """What became of the power failures of one case."""

    case: str
    calls: int = 0
    ordered: int = 0  # possibilities where names come to the disk in their order
    shuffled: int = 0  # and others
    different: int = 0  # of which so many differ
    durable: bool = False  # the new state is safe when the command ends
    failures: list[str] = field(default_factory=list)
    disorder: list[str] = field(default_factory=list)  # failures where they need not be in their order


def replay(work: Harness, name: str) -> Losses:
    """Try every prefix of what a case does."""
    walk = Walk(work, name)  # old and new
    work.reset()
    disk, log = Disk(work.here), work.scratch / "log"
    log.unlink(missing_ok=True)
    outcome = walk.run(lambda: work.shim.begin(work.here, log, data=True))
    assert outcome.code == 0, outcome.output
    losses, seen = Losses(name), {}
    found = harness.records(log)
    losses.calls = len(found)
    for number, record in enumerate([None, *found]):
        if record is not None:
            disk.apply(record)
        for changes, whole, ordered in disk.states():
            losses.ordered += ordered
            losses.shuffled += not ordered
            tree = disk.tree(changes, whole)
            # hidden names beside the result are not looked at
            shown = sorted(entry for entry in tree.items() if entry[0][0] != ".")
            key = hashlib.sha256(repr(shown).encode()).hexdigest()
            if key not in seen:
                seen[key] = _look(work, walk, tree)
            found_there = seen[key]
            if found_there not in (walk.old, walk.new, "unfinished"):
                what = (
                    f"{harness.OPERATIONS[record.operation]} {Path(record.first).name}"
                    if record
                    else "the beginning"
                )
                (losses.failures if ordered else losses.disorder).append(
                    f"after call {number} ({what}), with {len(changes)} of {len(disk.pending)} changes of "
                    f"names that were not flushed and {'all' if whole else 'only flushed'} bytes: "
                    f"{found_there}"
                )
            if number == len(found) and not changes and not whole:
                losses.durable = found_there == walk.new
    losses.different = len(seen)
    return losses


def _look(work: Harness, walk: Walk, tree: dict[str, bytes | None]) -> str:
    shutil.rmtree(work.here)
    work.here.mkdir()
    for path, content in tree.items():
        if content is None:
            (work.here / path).mkdir(exist_ok=True)
        else:
            (work.here / path).write_bytes(content)
    (work.here / ".tmp").mkdir(exist_ok=True)
    return walk.look()


def main() -> None:
    warnings.simplefilter("ignore")
    work = Harness(Path(sys.argv[1]))
    for name in sys.argv[2:]:
        assert name in CASES, name
        sys.stdout.write(json.dumps(asdict(replay(work, name))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
