"""The evaluation task of a path, by a folder's layout or a file's columns and name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from statim.data.files import arrow, columns, file_types, tables
from statim.data.labelled.labelled import YES_NO
from statim.errors import DataError, InputError

TASKS = ("sts", "pairs", "classification", "clustering", "retrieval")

KNOWN = (
    "what can be are files with text1, text2 and score or label, files with text and label, and BEIR folders"
)

_SPLIT = re.compile(r"(.+)_(train|test|valid|validation|dev)")
_SCORES = tuple(name for name in columns.SCORE if name not in columns.LABEL)


@dataclass(frozen=True)
class Task:
    """One thing to evaluate: a kind of TASKS, its path, and for classification the file to fit on."""

    kind: str
    path: Path
    train: Path | None = None

    @property
    def name(self) -> str:
        """The file's or folder's name without suffixes."""
        return self.path.resolve().name if self.path.is_dir() else stem(self.path)


def find_tasks(paths: Sequence[str | Path], kind: str | None = None) -> list[Task]:
    """The tasks in files and folders, in the order given, each once.

    Args:
        paths: Data files, BEIR folders, or folders of such files and folders.
        kind: One of TASKS, where a file could mean several; in a folder, files that cannot be that are passed
            over.

    Raises:
        InputError: ``kind`` is none of TASKS, no path is given, or a file can mean several things.
        DataError: A path cannot be read, or holds nothing to evaluate on.
    """
    if kind is not None and kind not in TASKS:
        raise InputError(f"the task is {kind!r}; it must be one of {', '.join(TASKS)}")
    if not paths:
        raise InputError("there is nothing to evaluate on; name at least one file or folder of judged data")
    found: dict[Task, None] = {}
    for given in (path if isinstance(path, Path) else Path(path) for path in paths):
        parts = _parts(given)
        if not parts:
            raise DataError(f"{given} holds no data files; {KNOWN}")
        tasks = [task for part in parts if (task := _task(part, kind, alone=part == given))]
        if not tasks:
            wanted = f" as {kind}" if kind else ""
            raise DataError(f"{given} holds nothing to evaluate on{wanted}; {KNOWN}")
        found.update(dict.fromkeys(tasks))
    return list(found)


def _parts(path: Path) -> list[Path]:
    """The files and BEIR folders at a path: itself, or those in it, in the order of their names."""
    if not path.is_dir() or _is_beir(path) or arrow.is_dataset(path):
        return [path]
    children = sorted(child for child in path.iterdir() if not child.name.startswith("."))
    return [part for child in children if child.is_dir() or _is_data(child) for part in _parts(child)]


def _is_beir(path: Path) -> bool:
    return (path / "qrels").is_dir() or any(path.glob("corpus.*"))


def _is_data(path: Path) -> bool:
    suffix = path.with_suffix("").suffix if path.suffix in file_types.COMPRESSIONS else path.suffix
    return suffix.lower() in file_types.FORMATS and suffix.lower() != ".txt"


def stem(path: Path) -> str:
    """A file's name without the suffixes of its format and compression."""
    name = path.name
    for suffixes in (file_types.COMPRESSIONS, file_types.FORMATS):
        name = next((name[: -len(suffix)] for suffix in suffixes if name.lower().endswith(suffix)), name)
    return name


def _task(path: Path, kind: str | None, *, alone: bool) -> Task | None:
    """The task at one path; None if it is one of several and holds no task of the kind wanted."""
    usual: tuple[str, ...] = ("retrieval",)
    possible = {"retrieval"}
    if not _is_beir(path):
        table = next(tables.tables(path), None)
        if table is None:
            raise DataError(f"{path} has no rows")
        usual, possible = _meanings(table)
    if not alone and not (possible if kind is None else possible & {kind}):
        return None
    if kind is not None and kind not in possible:
        raise DataError(f"{path} cannot be evaluated on as {kind}{_has(path)}; {KNOWN}")
    kinds = usual if kind is None else (kind,)
    if not kinds:
        raise DataError(f"{path} holds nothing to evaluate on{_has(path)}; {KNOWN}")
    if kinds == ("classification", "clustering"):
        task = _labelled(path)
        return task if alone or not _is_spare(task) else None
    if len(kinds) > 1:
        raise InputError(f"{path} could be for {' or '.join(kinds)}; say which with --task")
    if kinds == ("classification",):
        task = _labelled(path)
        if task.kind != "classification":
            raise InputError(f"{path}: classification needs two files side by side, NAME_train and NAME_test")
        return task
    return Task(kinds[0], path)


def _meanings(table: pa.Table) -> tuple[tuple[str, ...], set[str]]:
    """What a table with these columns usually means, and all it can mean; labels are counted at its start."""
    names: Sequence[str] = table.column_names
    first, second = columns.usual(names, columns.FIRST), columns.usual(names, columns.SECOND)
    score, label = columns.usual(names, _SCORES), columns.usual(names, columns.LABEL)
    possible: set[str] = set()
    usual: tuple[str, ...] = ()
    try:
        columns.pick_pair(names, None, None, "")
        possible, usual = {"retrieval"}, ("retrieval",)
    except DataError:
        pass
    if columns.usual(names, columns.TEXT) and label:
        possible |= {"classification", "clustering"}
        usual = ("classification", "clustering")
    if first and second and first != second and (score or label):
        possible |= {"sts", "pairs"} if label else {"sts"}
        # beside a score, a label of other values (entailment, say) is no answer to whether two texts belong
        # together
        answers = label and (not score or _is_yes_or_no(table, label))
        usual = (*(("sts",) if score else ()), *(("pairs",) if answers else ()))
    return usual, possible


def _is_yes_or_no(table: pa.Table, name: str) -> bool:
    return all(str(value).strip().lower() in YES_NO for value in columns.flat(table.column(name)).to_pylist())


def _labelled(path: Path) -> Task:
    """Classification, where texts to fit on and texts to test on lie side by side; else clustering."""
    match = _SPLIT.fullmatch(stem(path))
    if match is None:
        return Task("clustering", path)
    name, part = match.groups()
    if part != "train":
        train = _beside(path, f"{name}_train")
        if train is not None:
            return Task("classification", path, train)
    else:
        for other in ("test", "valid", "validation", "dev"):
            test = _beside(path, f"{name}_{other}")
            if test is not None:
                return Task("classification", test, path)
    missing = f"{name}_{'test' if part == 'train' else 'train'}"
    raise InputError(
        f"{path} could be for classification, for which {missing} with the same kind of suffix must "
        "lie beside it, "
        "or for clustering (--task clustering)"
    )


def _is_spare(task: Task) -> bool:
    """Is this a development file with a test file beside it?"""
    match = _SPLIT.fullmatch(stem(task.path))
    return (
        match is not None
        and match[2] not in ("train", "test")
        and _beside(task.path, f"{match[1]}_test") is not None
    )


def _beside(path: Path, wanted: str) -> Path | None:
    files = sorted(child for child in path.parent.iterdir() if _is_data(child) and stem(child) == wanted)
    return files[0] if files else None


def _has(path: Path) -> str:
    if path.is_dir():
        return ", since it is a BEIR folder"
    table = next(tables.tables(path), None)
    return "" if table is None else f"; its columns are: {columns.listed(table.column_names)}"
