"""Plain texts to learn from a teacher on: no pairs, no labels."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from statim.data.documents.texts import read_texts
from statim.data.files import tables
from statim.data.pairs import sets
from statim.data.pairs.pairs import Report, Taken, hash_of
from statim.data.text_column import TextColumn, buffers
from statim.errors import DataError
from statim.identity import Identities


@dataclass(frozen=True, eq=False)
class PlainTexts:
    """n different texts."""

    texts: pa.LargeStringArray
    report: Report = field(default_factory=Report)

    unit: ClassVar[str] = "texts"

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def columns(self) -> tuple[pa.LargeStringArray, ...]:
        """The texts, which may resemble each other."""
        return (self.texts,)

    def select(self, indices: npt.NDArray[np.integer] | Sequence[int]) -> "PlainTexts":
        """The texts at ``indices``, copied; the report stays that of the whole."""
        return PlainTexts(self.texts.take(pa.array(np.asarray(indices, np.int64))), self.report)

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 of the texts in their order, in hexadecimal."""
        return hash_of([self.texts])


def read_plain(sources: Any, *, text: str | None = None) -> PlainTexts:
    """Read texts, each once; empty ones are left out and counted.

    Args:
        sources: One or several sources: .txt files have a text on each line, others as for ``read_texts``;
            tables in memory have a column of them, like ``{"text": [...]}``.
        text: The column of texts; guessed by default.

    Raises:
        DataError: A source is missing, malformed or empty, the column is not there, or a row has no text; the
            message names it.
    """
    if isinstance(sources, PlainTexts):
        return sources
    from statim.kernels.text.identity import fingerprints

    found, seen, taken, empty, rows = TextColumn(), Identities(), [], 0, 0
    for _, source in sets.named(sources):
        before = rows
        for array in read_texts(source, text):
            blank = np.asarray(pc.equal(pc.utf8_trim_whitespace(array), ""))
            kept = array.filter(pa.array(~blank))
            _, firsts = seen(fingerprints(*buffers(kept)))
            found.append(kept.take(pa.array(firsts)))
            rows, empty = rows + len(array), empty + int(blank.sum())
        taken.append(Taken(tables.label(source), rows - before, {"text": text or "text"}))
    texts = found.finish()
    report = Report(tuple(taken), rows, 0, empty, rows - empty - len(texts))
    if not len(texts):
        raise DataError(f"there is no text to learn from a teacher on ({report}); give at least one")
    return PlainTexts(texts, report)
