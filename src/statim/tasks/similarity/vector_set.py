"""A set of texts or vectors as items: each distinct vector once, at length 1, in releasable memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from statim import spilled_array
from statim.data.documents.beside import Beside, behind, reader
from statim.data.documents.texts import STDIN, in_blocks, read_texts
from statim.data.files import tables
from statim.data.files.bad_rows import REFUSED, BadRows
from statim.data.files.rows import clean
from statim.data.text_column import TextColumn, buffers
from statim.errors import DataError, InputError
from statim.identity import Identities
from statim.model import StaticModel, as_model
from statim.progress import Progress
from statim.search.engines.matrices import matrix, unit
from statim.search.engines.products import halved, has_half
from statim.spilled_array import Growing
from statim.tensors import map_array
from statim.texts import Texts, is_column
from statim.threads import ahead

ROWS = 1 << 14  # read, encoded and kept at a time

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Items:
    """The rows of a set and the n different vectors they have.

    Attributes:
        name: What messages call the set.
        texts: The t different texts; None where vectors came without.
        text_rows: (t,) int64, the first row of each text.
        texts_of: (r,) int32, the text of each row.
        items_of: (r,) int32, the item of each row.
        first: (n,) int64, the first row of each item.
        vectors: (n, d) float32 of length 1, or 0; perhaps mapped.
        rough: (n, d) the same in bfloat16 as int16, where products of those are faster; else ``vectors``.
        zero: (n,) bool, which vectors are 0: texts without tokens. They are close to nothing, their copies
            included.
        beside: Gives the other columns of rows, where there are some; they are read again for that.
    """

    name: str
    texts: pa.LargeStringArray | None
    text_rows: Longs
    texts_of: Ints
    items_of: Ints
    first: Longs
    vectors: Floats
    rough: npt.NDArray[Any]
    zero: npt.NDArray[np.bool_]
    beside: Beside | None = None

    @property
    def rows(self) -> int:
        """The number of rows, r."""
        return len(self.items_of)

    @property
    def blank(self) -> npt.NDArray[np.bool_]:
        """(r,) which rows have a vector of 0."""
        found: npt.NDArray[np.bool_] = self.zero[self.items_of]
        return found

    @property
    def repeated(self) -> npt.NDArray[np.bool_]:
        """(r,) which rows have the text or the vector of an earlier one; none that is blank."""
        again: npt.NDArray[np.bool_] = self.first[self.items_of] != np.arange(self.rows)
        return again & ~self.blank

    def __len__(self) -> int:
        return len(self.vectors)

    def described(self, table: pa.Table, row: str = "row", prefix: str = "") -> pa.Table:
        """A table of rows, with their texts and all their other columns behind its own.

        Args:
            table: Has a column of rows.
            row: That column.
            prefix: Put before the names of the columns behind.
        """
        rows = np.asarray(table.column(row), np.int64)
        if self.texts is not None:
            table = table.append_column(f"{prefix}text", self.text(rows))
        return table if self.beside is None else behind(table, self.beside(rows), prefix)

    def text(self, rows: npt.ArrayLike) -> pa.LargeStringArray:
        """The texts of some rows."""
        assert self.texts is not None
        return self.texts.take(pa.array(self.texts_of[np.asarray(rows, np.int64)]))


def read_items(
    texts: Any = None,
    model: StaticModel | str | Path | None = None,
    vectors: Any = None,
    *,
    column: str | Sequence[str] | None = None,
    bad: BadRows = REFUSED,
    threads: int | None = None,
    progress: bool = False,
) -> Items:
    """Read a set.

    Args:
        texts: A path, ``"-"``, a table or a column of texts, a list of Paths, or an iterable of str, which
            are the texts themselves; None for vectors alone.
        model: Makes the vectors, where none are given: a model, or where one is; by default the bundled
            ``"english"``.
        vectors: (r, d) numbers, or the path of a .npy file of them.
        column: The column of texts; guessed by default.
        bad: Told of rows of files that cannot be used; by default the first is refused.
        threads: Threads to use.
        progress: Show a progress bar on a terminal.

    Raises:
        InputError: Both model and vectors are given; or vectors are not finite, or not as many as
            the texts.
        DataError: A file cannot be used as it is.
    """
    if model is not None and vectors is not None:
        raise InputError("give either a model that makes the vectors (--model), or the vectors (--vectors)")
    if texts is None and vectors is None:
        raise InputError("there is nothing to compare; give texts, or vectors")
    given = None if vectors is None else _vectors(vectors)
    loaded = None if given is not None else as_model(model)
    name = _name(texts, vectors)
    dim = given.shape[1] if given is not None else loaded.dim  # type: ignore[union-attr]
    reading = _Reading(dim, name if given is None else _name(None, vectors))
    with Progress("encode", total=None, unit="rows", show=progress) as bar:
        blocks = _nothing(given) if texts is None else in_blocks(_arrays(texts, column, bad), ROWS)
        position = 0
        for block in ahead(blocks):
            end = position + len(block)
            if given is not None and end > len(given):
                break
            if isinstance(block, range):
                reading.add(given[position:end], np.arange(position, end))  # type: ignore[index]
            else:
                fresh, places = reading.new_texts(block)
                if given is None:
                    found = loaded.encode(fresh, threads=threads)  # type: ignore[union-attr]
                else:
                    found = _without_empty(given[position + places], fresh)
                reading.add(found, position + places)
            position = end
            bar.advance(len(block))
        else:
            end = position
    if given is not None and end != len(given):
        more = "more than " if end > len(given) else ""
        raise InputError(
            f"there are {len(given):,} vectors for {more}{min(end, len(given)):,} texts; give one "
            "vector for each text"
        )
    if position == 0:
        raise DataError(f"{name} has no rows")
    beside = None if texts is None else reader(texts, column, bad)
    return replace(reading.finish(name, with_texts=texts is not None), beside=beside)


class _Reading:
    """Items that are being read."""

    def __init__(self, dim: int, name: str) -> None:
        self._dim, self._name, self._half = dim, name, has_half()
        self._texts, self._text_ids, self._vector_ids = TextColumn(), Identities(), Identities()
        self._texts_of: list[Ints] = []
        self._items_of: list[Ints] = []  # of the texts, or of rows without texts
        self._rows: list[Longs] = []  # of those
        self._first: list[Longs] = []
        self._zero: list[npt.NDArray[np.bool_]] = []
        self._vectors, self._rough = Growing(np.float32), Growing(np.int16)
        self._added = 0

    def new_texts(self, block: pa.LargeStringArray) -> tuple[pa.LargeStringArray, Longs]:
        """Take a block of rows; gives the texts that have not been seen before, and their places in it."""
        from statim.kernels.text.identity import fingerprints

        ids, places = self._text_ids(fingerprints(*buffers(block)))
        fresh = block.take(pa.array(places))
        self._texts.append(fresh)
        self._texts_of.append(ids)
        return fresh, places

    def add(self, vectors: npt.NDArray[Any], rows: Longs) -> None:
        """Take the vectors of new texts, which stand in these rows."""
        from statim.kernels.text.identity import fingerprints

        given = matrix(vectors, self._name)
        finite = np.isfinite(given).all(axis=1)
        if not finite.all():
            raise InputError(
                f"{self._name}: vector {rows[np.argmin(finite)]} holds NaN or infinities; every number "
                "must be finite"
            )
        scaled, zero = unit(given)
        scaled += np.float32(0)  # -0 becomes 0, so that equal vectors are equal bytes
        ends = np.arange(len(scaled) + 1, dtype=np.int64) * scaled.shape[1] * scaled.itemsize
        keys = fingerprints(scaled.view(np.uint8).reshape(-1), ends)
        keys[zero] = np.stack(
            [self._added + np.flatnonzero(zero), np.zeros(zero.sum())], axis=1
        )  # each its own
        ids, places = self._vector_ids(keys)
        self._items_of.append(ids)
        self._rows.append(rows)
        self._first.append(rows[places])
        self._added += len(scaled)
        fresh = scaled[places]
        self._zero.append(zero[places])
        self._vectors.append(fresh.reshape(-1))
        if self._half:
            self._rough.append(halved(fresh)[0].reshape(-1))

    def finish(self, name: str, *, with_texts: bool) -> Items:
        """All there is."""
        items, rows = np.concatenate(self._items_of), np.concatenate(self._rows)
        vectors = self._vectors.finish().reshape(-1, self._dim)
        texts_of = np.concatenate(self._texts_of) if with_texts else np.arange(len(rows), dtype=np.int32)
        return Items(
            name=name, texts=self._texts.finish() if with_texts else None, text_rows=rows, texts_of=texts_of,
            items_of=items[texts_of], first=np.concatenate(self._first), vectors=vectors,
            rough=self._rough.finish().reshape(-1, self._dim) if self._half else vectors,
            zero=np.concatenate(self._zero),
        )  # fmt: skip


def _without_empty(vectors: npt.NDArray[Any], texts: pa.LargeStringArray) -> npt.NDArray[Any]:
    """Given vectors, with 0 for empty texts, which are like nothing whatever a model makes of them."""
    empty = np.asarray(pc.equal(pc.utf8_trim_whitespace(texts), ""))
    return np.where(empty[:, None], 0, vectors).astype(vectors.dtype) if empty.any() else vectors


def _arrays(texts: Any, column: str | Sequence[str] | None, bad: BadRows) -> Iterator[pa.LargeStringArray]:
    """Texts of any source, or of a plain iterable of str."""
    source = isinstance(texts, (str, Path, Mapping)) or tables.is_source(texts)
    if source and not is_column(texts):
        yield from read_texts(texts, column, bad)
        return
    if isinstance(texts, list) and texts and all(isinstance(t, Path) or t == STDIN for t in texts):
        yield from read_texts(texts, column, bad)
        return
    for position, chunk in Texts.of(texts).chunks(ROWS):
        for place, text in enumerate(chunk):
            if not isinstance(text, str):
                raise InputError(f"text {position + place:,} is of type {type(text).__name__}, not str")
        yield pa.array([clean(text) for text in chunk], pa.large_string())


def _nothing(vectors: npt.NDArray[Any] | None) -> Iterator[range]:
    """The rows of vectors without texts, in blocks."""
    assert vectors is not None
    for start in range(0, len(vectors), ROWS):
        yield range(start, min(start + ROWS, len(vectors)))


def _vectors(given: Any) -> npt.NDArray[Any]:
    """A matrix of numbers, mapped where it is a file.

    Raises:
        InputError: It is none.
    """
    name = _name(given, None)
    if isinstance(given, (str, Path)):
        found: Any = map_array(given)
    else:
        found = given if isinstance(given, np.ndarray) else matrix(given, name)
    if (
        not isinstance(found, np.ndarray)
        or found.ndim != 2
        or found.dtype.kind not in "fi"
        or found.shape[1] == 0
    ):
        held = f"{found.dtype} of the shape {found.shape}" if isinstance(found, np.ndarray) else "no array"
        raise InputError(f"{name} holds {held}; vectors must be numbers of the shape (rows, dimensions)")
    return found


def _name(texts: Any, vectors: Any) -> str:
    source = vectors if texts is None else texts
    if isinstance(source, (list, tuple)) and len(source) == 1:
        source = source[0]
    if isinstance(source, (str, Path)):
        return "standard input" if source == STDIN else str(source)
    return "the vectors given" if isinstance(source, np.ndarray) else "the texts given"


def release() -> None:
    """Hand the memory of mapped items back; what is read again comes from the file."""
    spilled_array.release()
