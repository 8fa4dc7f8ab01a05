"""Words of documents that come and go.

What is stored of a text never changes: which words it holds, how often, and how long it is. What BM25 makes
of that does change, since it weighs a word by how many documents hold it and a text by how long texts are on
average. So the weights are worked out when a query asks for its words, over the documents that are left:
scores after any additions and deletions are those of an index built again, and an older version of the
documents has the scores that it had then.

    words/
    ├── 0-250000.safetensors       postings of the texts at positions 0 to 249,999
    └── 250000-250200.safetensors  of those added next

The files are written once. Small ones are merged into one of a wider range; whatever lies inside of a wider
range is not read.
"""

import bisect
import json
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from statim.errors import ModelError
from statim.search.lexical.analyzer import Analyzer
from statim.search.lexical.bm25 import BM25, K1, idf, joined
from statim.strict_json import loads
from statim.tensors import load_tensors, save_tensors

FORMAT = "statim-words-1"
B = 0.75
SMALL = 1 << 18  # texts of a file that is not merged any more
MOST = 8  # small files beside each other, before they are merged

Mask = npt.NDArray[np.bool_]
_NAME = re.compile(r"(\d{1,12})-(\d{1,12})\.safetensors")


class Segment:
    """The words of the texts at some positions that follow each other; make one with ``write``.

    Raises:
        ModelError: The file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.start, self.end = _range(path)
        arrays, about = load_tensors(path)
        try:
            told = loads(about["words"])
            self.analyzer = Analyzer.from_about(told, path)
            self.generation = told.get("generation")
            self._texts, self._cuts = arrays["texts"], arrays["cuts"]
            self.offsets: npt.NDArray[Any] = arrays["offsets"]
            self.documents: npt.NDArray[Any] = arrays["documents"]
            self.frequencies: npt.NDArray[Any] = arrays["frequencies"]
            self.lengths: npt.NDArray[Any] = arrays["lengths"]
            kinds = [
                a.dtype.str
                for a in (self._cuts, self.offsets, self.documents, self.frequencies, self.lengths)
            ]
            whole = (
                told["format"] == FORMAT
                and kinds == ["<i8", "<i8", "<i4", "<i4", "<i4"]
                and len(self.lengths) == self.end - self.start
                and len(self._cuts) == len(self.offsets)
                and len(self.documents) == len(self.frequencies)
                and len(self.documents) == (self.offsets[-1] if len(self.offsets) else -1)
            )
        except (KeyError, TypeError, ValueError, RecursionError, AttributeError):
            whole = False
        if not whole:
            raise self._damaged()

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def word(self, column: int) -> bytes:
        """The word of a column, as UTF-8; columns are in the order of these bytes."""
        return self._texts[self._cuts[column] : self._cuts[column + 1]].tobytes()

    def posting(self, word: bytes) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Which texts hold a word, counted from ``start``, ascending, and how often each.

        Raises:
            ModelError: The file is damaged.
        """
        column = bisect.bisect_left(range(len(self)), word, key=self.word)
        if column == len(self) or self.word(column) != word:
            return self.documents[:0], self.frequencies[:0]
        part = slice(self.offsets[column], self.offsets[column + 1])
        documents = self.documents[part]
        if len(documents) == 0 or documents.min() < 0 or documents.max() >= len(self.lengths):
            raise self._damaged()
        return documents, self.frequencies[part]

    def _damaged(self) -> ModelError:
        return ModelError(f"{self.path} is damaged; build the index again")


class Words:
    """The words of an index's documents.

    Args:
        folder: What ``write`` wrote into.
        living: (n,) which positions hold a document; None for all that there are words of.
        generation: Of the index; files of another one are refused.

    Raises:
        ModelError: A file is damaged, or of another index.
    """

    def __init__(self, folder: Path, living: Mask | None = None, generation: str | None = None) -> None:
        self._segments = _opened(folder)
        for segment in self._segments:
            if None not in (generation, segment.generation) and segment.generation != generation:
                raise ModelError(f"{segment.path} belongs to another index; build the index again")
        self.end = self._segments[-1].end if self._segments else 0
        if living is None:
            living = np.zeros(self.end, np.bool_)
            for segment in self._segments:
                living[segment.start : segment.end] = True
        self._living = np.zeros(self.end, np.bool_)
        self._living[: len(living)] = living[: self.end]

    @property
    def analyzer(self) -> Analyzer:
        """What cuts texts into words, the same for all of them."""
        return self._segments[-1].analyzer if self._segments else Analyzer()

    @cached_property
    def _sum(self) -> tuple[int, int]:
        """How many documents there are, and how many words they have together."""
        count = int(np.count_nonzero(self._living))
        total = sum(
            int(segment.lengths[self._living[segment.start : segment.end]].sum(dtype=np.int64))
            for segment in self._segments
        )
        return count, total

    def bm25(self, queries: Sequence[str], allowed: Mask | None = None) -> BM25:
        """BM25 of the queries' words over the living documents, of which only those ``allowed`` are found.

        Args:
            queries: Texts.
            allowed: (n,) which positions may be found; None for all. What a word is worth does not depend on
                it.

        Raises:
            ModelError: A file is damaged.
        """
        columns = {}
        for word in self._asked(queries):
            found = self._posting(word)  # one at a time, for the sake of memory
            columns[word] = _weighed(found, len(found.positions), *self._sum, allowed)
        return _bm25(columns, self.end, self.analyzer, self._sum[0])

    def postings(self, queries: Sequence[str]) -> "Postings":
        """Where the queries' words are, which can be weighed together with those of other indexes.

        Raises:
            ModelError: A file is damaged.
        """
        found = {word: self._posting(word) for word in self._asked(queries)}
        return Postings(found, self.end, self.analyzer, self._sum)

    def _asked(self, queries: Sequence[str]) -> list[str]:
        """The queries' words, each once."""
        terms = self.analyzer.query_terms
        return list(
            dict.fromkeys(word for query in queries if isinstance(query, str) for word in terms(query))
        )

    def _posting(self, word: str) -> "Posting":
        spelt, found = word.encode("utf-8", "surrogatepass"), []
        for segment in self._segments:
            documents, frequencies = segment.posting(spelt)
            positions = documents + np.int32(segment.start)
            there = self._living[positions]
            found.append((positions[there], frequencies[there], segment.lengths[documents[there]]))
        return Posting(*(np.concatenate(part) for part in zip(*found, strict=True)))


class Posting(NamedTuple):
    """A word in the living documents that hold it.

    Attributes:
        positions: (n,) of these documents, ascending.
        frequencies: (n,) how often each holds it.
        lengths: (n,) how many words each has.
    """

    positions: npt.NDArray[np.int32]
    frequencies: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]


class Totals(NamedTuple):
    """What the weight of a word depends on beside the document.

    Attributes:
        documents: How many there are.
        length: Their words, all together.
        held: How many documents hold each word.
    """

    documents: int
    length: int
    held: Mapping[str, int]

    @staticmethod
    def of(parts: Sequence["Totals"]) -> "Totals":
        """Those of several indexes together, which were asked for the same words."""
        held = {word: sum(part.held[word] for part in parts) for word in (parts[0].held if parts else ())}
        return Totals(sum(part.documents for part in parts), sum(part.length for part in parts), held)

    def full_match(self, words: Iterable[str]) -> float:
        """The score of a document of mean length that holds each of these words once; see BM25."""
        return sum(idf(self.documents, self.held[word]) for word in words) / (1 + K1)


class Postings:
    """The words of some queries in the documents of an index."""

    def __init__(
        self, words: Mapping[str, Posting], end: int, analyzer: Analyzer, size: tuple[int, int]
    ) -> None:
        self._words, self._end, self._analyzer, self._size = words, end, analyzer, size

    @property
    def totals(self) -> Totals:
        """What these words' weights depend on, in this index."""
        return Totals(*self._size, {word: len(found.positions) for word, found in self._words.items()})

    def bm25(self, totals: Totals, allowed: Mask | None = None) -> BM25:
        """BM25 of these words: as rare as ``totals`` say, in the documents that are ``allowed``."""
        columns = {
            word: _weighed(found, totals.held[word], totals.documents, totals.length, allowed)
            for word, found in self._words.items()
        }
        return _bm25(columns, self._end, self._analyzer, totals.documents)


Column = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]


def _weighed(found: Posting, held: int, documents: int, length: int, allowed: Mask | None) -> Column:
    """The positions of a word's documents and its weight in each, equal to bm25s's to the last bit."""
    mean, worth = length / max(1, documents), np.float32(idf(documents, held))
    tf = found.frequencies.astype(np.float32)
    weights = (worth * (tf / (K1 * ((1 - B) + B * found.lengths / mean) + tf))).astype(np.float32)
    if allowed is None:
        return found.positions, weights
    kept = allowed[found.positions]
    return found.positions[kept], weights[kept]


def _bm25(columns: Mapping[str, Column], end: int, analyzer: Analyzer, living: int) -> BM25:
    there = {word: column for word, column in columns.items() if len(column[0])}
    return BM25(joined(there), end, analyzer, living)


def write(
    folder: Path, start: int, texts: Iterable[str], analyzer: Analyzer, generation: str | None = None
) -> int:
    """Write down the words of texts at the positions from ``start`` on; gives the position after the last.

    Args:
        folder: Where to.
        start: The first text's position.
        texts: The texts.
        analyzer: What cuts them into words.
        generation: What tells the index's positions from those of any other index.

    Raises:
        StorageError: The disk is full, read-only, or not permitted.
    """
    vocabulary: dict[str, int] = {}
    ids, lengths = array("i"), array("i")
    for text in texts:
        found = [vocabulary.setdefault(term, len(vocabulary)) for term in analyzer.terms(text)]
        ids.extend(found)
        lengths.append(len(found))
    spelt = [word.encode("utf-8", "surrogatepass") for word in vocabulary]
    order = sorted(range(len(spelt)), key=spelt.__getitem__)
    rank = np.empty(len(spelt), np.int64)
    rank[order] = np.arange(len(spelt))
    counts = np.frombuffer(lengths, np.int32) if lengths else np.zeros(0, np.int32)
    flat = np.frombuffer(ids, np.int32) if ids else np.zeros(0, np.int32)
    keys = rank[flat] * len(counts) + np.repeat(np.arange(len(counts)), counts)
    keys, frequencies = np.unique(keys, return_counts=True)
    columns, documents = np.divmod(keys, max(1, len(counts)))
    words = [spelt[i] for i in order]
    _save(folder, start, words, columns, documents, frequencies, counts, analyzer, generation)
    return start + len(counts)


def merge(folder: Path) -> None:
    """Make one file of small ones that stand beside each other, where there are many."""
    segments = [Segment(path) for path in _widest(folder)]
    group: list[Segment] = []
    for segment in [*segments, None]:
        fits = segment is not None and segment.end - (group or [segment])[0].start <= SMALL
        if segment is not None and fits and (not group or group[-1].end == segment.start):
            group.append(segment)
            continue
        if len(group) > MOST:
            _merge(folder, group)
        group = [segment] if segment is not None else []


def _merge(folder: Path, group: list[Segment]) -> None:
    spelt = [[segment.word(column) for column in range(len(segment))] for segment in group]
    words = sorted(set().union(*spelt))
    rank = {word: column for column, word in enumerate(words)}
    columns = np.concatenate(
        [
            np.repeat(np.array([rank[word] for word in some], np.int64), np.diff(segment.offsets))
            for some, segment in zip(spelt, group, strict=True)
        ]
    )
    start = group[0].start
    documents = np.concatenate([segment.documents + np.int64(segment.start - start) for segment in group])
    frequencies = np.concatenate([segment.frequencies for segment in group])
    order = np.argsort(columns, kind="stable")  # texts ascend from segment to segment
    lengths = np.concatenate([segment.lengths for segment in group])
    _save(
        folder, start, words, columns[order], documents[order], frequencies[order], lengths,
        group[-1].analyzer,
        group[-1].generation,
    )  # fmt: skip
    for segment in group:
        segment.path.unlink()


def _save(
    folder: Path,
    start: int,
    words: list[bytes],
    columns: npt.NDArray[np.int64],
    documents: npt.NDArray[np.int64],
    frequencies: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int32],
    analyzer: Analyzer,
    generation: str | None,
) -> None:
    cuts = np.zeros(len(words) + 1, np.int64)
    np.cumsum([len(word) for word in words], out=cuts[1:])
    arrays: dict[str, npt.NDArray[Any]] = {
        "texts": np.frombuffer(b"".join(words), np.uint8),
        "cuts": cuts,
        "offsets": np.searchsorted(columns, np.arange(len(words) + 1)).astype(np.int64),
        "documents": documents.astype(np.int32),
        "frequencies": frequencies.astype(np.int32),
        "lengths": lengths.astype(np.int32),
    }
    about: dict[str, Any] = {"format": FORMAT, **analyzer.about()}
    about |= {} if generation is None else {"generation": generation}
    path = folder / f"{start}-{start + len(lengths)}.safetensors"
    save_tensors(path, arrays, {"words": json.dumps(about)})


def _range(path: Path) -> tuple[int, int]:
    found = _NAME.fullmatch(path.name)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _opened(folder: Path) -> list[Segment]:
    """The segments of a folder, in which others may be merged meanwhile.

    Raises:
        ModelError: A file is damaged, or words are missing.
    """
    for last in (*[False] * 20, True):
        paths = _widest(folder)
        ends = [0, *(_range(path)[1] for path in paths)]
        whole = all(_range(path)[0] <= end for path, end in zip(paths, ends, strict=False))
        try:
            if whole:
                return [Segment(path) for path in paths]
        except ModelError:
            if last or all(path.exists() for path in paths):
                raise
    raise ModelError(f"{folder}: words are missing; build the index again")


def _widest(folder: Path) -> list[Path]:
    """The files of words, in the order of their positions, without those that a wider one holds."""
    paths = [path for path in folder.glob("*.safetensors") if _NAME.fullmatch(path.name)]
    for path in (folder, *paths):
        if path.is_symlink():
            raise ModelError(
                f"{path} is a symbolic link, which does not belong there; put the file itself in its place"
            )
    kept: list[Path] = []
    end = 0
    for path in sorted(paths, key=lambda path: (_range(path)[0], -_range(path)[1])):
        if _range(path)[1] > end:
            kept.append(path)
            end = _range(path)[1]
    return kept
