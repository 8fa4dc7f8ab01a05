"""Several data sets: which they are, and what they are called."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from statim.data.files import arrow, tables
from statim.data.files.file_types import COMPRESSIONS, FORMATS, TEXT
from statim.data.pairs.pairs import Pairs
from statim.errors import DataError

MOST = 1 << 16  # sets
TRAIN = "train"  # the file of a set in a folder of sets, before its suffixes
TABLES = tuple(  # and the suffixes
    f"{suffix}{packed}"
    for suffix, kind in FORMATS.items()
    if kind != "text"
    for packed in ("", *(COMPRESSIONS if kind in TEXT else ()))
)


def named(given: Any) -> list[tuple[str, Any]]:
    """The data sets in what a caller gave, each with a name.

    A mapping names its sets itself. A file is called by its name without suffixes, or by as much of its path
    as tells it from the others (a/train.jsonl and b/train.jsonl are ``a`` and ``b``); a table in memory by
    its number, from 1. A folder of sets (see ``in_folder``) stands for these, each called by its folder.

    Raises:
        DataError: Nothing is given, or too many sets.
    """
    if isinstance(given, Mapping) and is_mapping_of_sets(given):
        found = [(str(name), source) for name, source in given.items()]
    elif isinstance(given, Pairs):
        found = [("pairs", given)]
    else:
        several = isinstance(given, (list, tuple)) and any(isinstance(item, Pairs) for item in given)
        sources: list[Any] = []
        parts: list[tuple[str, ...]] = []
        for source in list(given) if several else tables.sources(given):
            own = in_folder(source)
            sources += own or [source]
            parts += [_parts(path.parent) for path in own] or [_place(source, len(parts) + 1)]
        found = list(zip(_names(parts), sources, strict=True))
    if len(found) > MOST:
        raise DataError(f"{len(found):,} data sets are given; at most {MOST:,} can be told apart")
    return found


def in_folder(source: Any) -> list[Path]:
    """The files of a folder of sets, NAME/train.jsonl.gz or another table; none of anything else.

    Each of its sub-folders holds such a file, but for hidden ones.
    """
    if not isinstance(source, (str, Path)) or not Path(source).is_dir() or arrow.is_dataset(Path(source)):
        return []
    folders = sorted(
        path for path in Path(source).iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    files = [
        next((file for suffix in TABLES if (file := folder / f"{TRAIN}{suffix}").is_file()), None)
        for folder in folders
    ]
    return [] if None in files else [file for file in files if file is not None]


def own(choice: Any, name: str) -> Any:
    """The value chosen for this set: a mapping chooses by name, anything else applies to all."""
    return choice.get(name) if isinstance(choice, Mapping) else choice


def is_mapping_of_sets(given: Mapping[Any, Any]) -> bool:
    """Does every value stand for a whole data set, rather than for a column or for the split of one?"""
    if not given or type(given).__name__ == "DatasetDict":
        return False
    return all(map(_is_set, given.values()))


def _is_set(value: Any) -> bool:
    if isinstance(value, Pairs) or tables.is_source(value):
        return not hasattr(value, "iloc") or getattr(value, "ndim", 2) == 2  # a pandas Series is a column
    rows = isinstance(value, (list, tuple)) and len(value) > 0
    return rows and all(isinstance(row, (Mapping, list, tuple)) for row in value)


def _place(source: Any, number: int) -> tuple[str, ...]:
    """What a source may be called by: the parts of its path, or its number."""
    return _parts(source) if isinstance(source, (str, Path)) else (str(number),)


def _names(parts: Sequence[tuple[str, ...]]) -> list[str]:
    """Different names for all; the same file given twice is told apart by numbers."""
    parts = list(parts)
    while (
        len(parts) > 1
        and len({own[-1] for own in parts}) == 1
        and len(set(parts)) > 1
        and min(map(len, parts)) > 1
    ):
        parts = [own[:-1] for own in parts]  # a/train and b/train are a and b
    names = []
    for own in parts:
        others = {part for part in parts if part != own}
        size = next(
            (size for size in range(1, len(own)) if all(other[-size:] != own[-size:] for other in others)),
            len(own),
        )
        names.append("/".join(own[-size:]))
    return [
        f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def _parts(path: str | Path) -> tuple[str, ...]:
    path = Path(path)
    stem = path.name.split(".")[0] or path.name
    return (*(part for part in path.parts[:-1] if part != path.anchor), stem)
