"""BM25, the lexical search to measure up to, and the other half of hybrid search.

The weights are those of bm25s with its own defaults: Lucene's variant, k1 = 1.5, b = 0.75 (Lù, "BM25S: Orders
of magnitude faster lexical search via eager sparse scoring", 2024). What counts as a word is analyzer.py's to
say. bm25s builds the matrix of weights, one column a word; a search sums columns. The sums are done here, in
the same order and type: they need no import but numpy for a few queries, use every processor for many, and
ties go to the lower position.
"""

import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.errors import DataError, InputError, ModelError
from statim.progress import Progress
from statim.search.engines.protocol import Floats, Positions, check_k
from statim.search.lexical.analyzer import AUTO, Analyzer, analyzer_of, bm25s
from statim.strict_json import loads
from statim.tensors import load_tensors, save_tensors

FORMAT = "statim-bm25-1"
K1 = 1.5
FEW = 1 << 24  # queries times documents that plain numpy sums before compiled code would be loaded


class BM25:
    """A lexical index; make one with ``build`` or ``load``.

    A document without any of a query's words is never found by it.
    """

    def __init__(
        self,
        arrays: Mapping[str, npt.NDArray[Any]],
        documents: int,
        analyzer: Analyzer,
        living: int | None = None,
    ) -> None:
        self._weights, self._documents, self._offsets = (
            arrays["weights"],
            arrays["documents"],
            arrays["offsets"],
        )
        self._words = arrays["words"]  # UTF-8, one word a line, in the order of their columns
        self._count = documents
        self._living = documents if living is None else living  # of whose positions hold a document
        self.analyzer = analyzer

    def __len__(self) -> int:
        return self._count

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Word -> column.

        Raises:
            ModelError: The index is damaged.
        """
        try:
            words = self._words.tobytes().decode("utf-8", "surrogatepass").split("\n")[:-1]
        except UnicodeDecodeError:
            words = []
        if len(words) != len(self._offsets) - 1:
            raise ModelError("the words of the BM25 index are damaged; build the index again")
        return {word: column for column, word in enumerate(words)}

    @staticmethod
    def build(texts: Sequence[str], *, language: str = AUTO, progress: bool = False) -> "BM25":
        """Index n texts; a text's position is its place among them.

        Args:
            texts: n str.
            language: The texts' language, one of analyzer.LANGUAGES; ``auto`` detects it.
            progress: Show a progress bar on a terminal.

        Raises:
            DataError: There are no texts.
            InputError: A text is not a str; the message names its position; or there is no such language.
        """
        analyzer = analyzer_of(language, (text for text in texts if isinstance(text, str)))
        vocabulary: dict[str, int] = {}
        ids: list[list[int]] = []
        with Progress("index words", total=len(texts), unit="texts", show=progress) as bar:
            for text in texts:
                if not isinstance(text, str):
                    raise InputError(f"text {len(ids)} is of type {type(text).__name__}, not str")
                ids.append([vocabulary.setdefault(term, len(vocabulary)) for term in analyzer.terms(text)])
                if len(ids) % 1024 == 0:
                    bar.advance(1024)
        if not ids:
            raise DataError("there are no texts to index; give at least one")
        matrix = {"data": np.zeros(0), "indices": np.zeros(0), "indptr": np.zeros(1)}
        if vocabulary:
            built = bm25s().BM25(method="lucene", k1=1.5, b=0.75)
            built.index((ids, vocabulary), create_empty_token=False, show_progress=False)
            matrix = built.scores
        arrays: dict[str, npt.NDArray[Any]] = {
            "weights": matrix["data"].astype(np.float32),
            "documents": matrix["indices"].astype(np.int32),
            "offsets": matrix["indptr"].astype(np.int64),
            "words": np.frombuffer(
                "".join(f"{w}\n" for w in vocabulary).encode("utf-8", "surrogatepass"), np.uint8
            ),
        }
        return BM25(arrays, len(ids), analyzer)

    def search(
        self, queries: Sequence[str], k: int, *, threads: int | None = None
    ) -> tuple[Floats, Positions]:
        """The k best documents of m queries.

        Args:
            queries: m texts.
            k: How many to return; n at most are.
            threads: Threads to use; None takes STATIM_NUM_THREADS, else every processor at hand.

        Returns:
            Scores, (m, min(k, n)) float32, falling, and positions, (m, min(k, n)) int64. Equal scores are in
            the order of their positions. Where fewer documents hold a word of the query, the rest of its row
            is -inf and -1.

        Raises:
            InputError: k is below 1, or a query is not a str.
            ModelError: The index is damaged.
        """
        k = min(check_k(k), len(self))
        columns = self._columns(queries)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        positions = np.full((len(queries), k), -1, np.int64)
        if len(queries) > 1 and len(queries) * len(self) > FEW:
            self._search_many(columns, scores, positions, threads)
            return scores, positions
        for words, row, places in zip(columns, scores, positions, strict=True):
            sums = self._sums(words)
            found = np.flatnonzero(sums)
            if len(found) > k:
                found = found[sums[found] >= np.partition(sums[found], len(found) - k)[len(found) - k]]
            order = found[np.argsort(-sums[found], kind="stable")[:k]]
            row[: len(order)], places[: len(order)] = sums[order], order
        return scores, positions

    def score(self, queries: Sequence[str], positions: Positions) -> Floats:
        """The scores of given documents: (m, c) for m queries and positions (m, c); 0 where -1."""
        scores = np.zeros(positions.shape, np.float32)
        for words, row, out in zip(self._columns(queries), positions, scores, strict=True):
            for word in words:
                documents, weights = self._posting(word)
                place = np.minimum(np.searchsorted(documents, row), len(documents) - 1)
                out += np.where(documents[place] == row, weights[place], np.float32(0))
        return scores

    def full_match(self, queries: Sequence[str]) -> npt.NDArray[np.float64]:
        """The score of a document of mean length that holds each word of a query once, (m,); 0 without words.

        Words that no document holds count, too, so a share of it says how much of a query was found.
        """
        found = np.zeros(len(queries))
        for row, query in enumerate(queries):
            for word in self.analyzer.query_terms(query):
                column = self.vocabulary.get(word)
                held = 0 if column is None else int(self._offsets[column + 1] - self._offsets[column])
                found[row] += idf(self._living, held)
        return found / (1 + K1)

    def asked(self, queries: Sequence[str]) -> "BM25":
        """Itself; see WordSide."""
        del queries
        return self

    def among(self, queries: Sequence[str], allowed: npt.NDArray[np.bool_]) -> "BM25":
        """The queries' words alone, finding only the documents ``allowed`` (n,), with the same scores."""
        columns: dict[str, tuple[npt.NDArray[np.int32], Floats]] = {}
        for word in dict.fromkeys(word for query in queries for word in self.analyzer.query_terms(query)):
            if word in self.vocabulary:
                documents, weights = self._posting(self.vocabulary[word])
                if (kept := allowed[documents]).any():
                    columns[word] = documents[kept], weights[kept]
        return BM25(joined(columns), len(self), self.analyzer, self._living)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, atomically.

        Raises:
            StorageError: The disk is full, read-only, or not permitted.
        """
        arrays = {
            "weights": self._weights,
            "documents": self._documents,
            "offsets": self._offsets,
            "words": self._words,
        }
        about = {
            "format": FORMAT,
            "documents": len(self),
            "method": "lucene, k1 = 1.5, b = 0.75",
            **self.analyzer.about(),
        }
        save_tensors(path, arrays, {"bm25": json.dumps(about)})  # one entry: safetensors shuffles several

    @staticmethod
    def load(path: str | Path) -> "BM25":
        """Map what ``save`` wrote.

        Raises:
            ModelError: The file is missing, truncated, or does not hold a BM25 index.
        """
        arrays, metadata = load_tensors(path)
        expected = {"weights": np.float32, "documents": np.int32, "offsets": np.int64, "words": np.uint8}
        types = {
            name: array.dtype for name, array in arrays.items() if array.ndim == 1 and array.flags.aligned
        }
        try:
            about = loads(metadata.get("bm25", ""))
        except (ValueError, RecursionError):
            about = None
        if (
            not isinstance(about, dict)
            or about.get("format") != FORMAT
            or types != {name: np.dtype(kind) for name, kind in expected.items()}
        ):
            raise ModelError(f"{path} does not hold a BM25 index that this version of statim can read")
        documents = about.get("documents")
        offsets, entries = arrays["offsets"], len(arrays["weights"])
        # every word stands in a document, so no column is empty
        fits = len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == entries == len(arrays["documents"])
        if not (fits and (np.diff(offsets) > 0).all()) or not (type(documents) is int and documents > 0):
            raise ModelError(f"{path} is damaged: its parts do not fit together; build the index again")
        return BM25(arrays, documents, Analyzer.from_about(about, path))

    def _columns(self, queries: Sequence[str]) -> list[list[int]]:
        """The columns of each query's words, those in no document left out."""
        columns = []
        for index, query in enumerate(queries):
            if not isinstance(query, str):
                raise InputError(f"query {index} is of type {type(query).__name__}, not str")
            words = self.analyzer.query_terms(query)
            columns.append([self.vocabulary[word] for word in words if word in self.vocabulary])
        return columns

    def _posting(self, word: int) -> tuple[npt.NDArray[np.int32], Floats]:
        part = slice(self._offsets[word], self._offsets[word + 1])
        documents = self._documents[part]
        if documents.min() < 0 or documents.max() >= len(self):
            raise ModelError(
                "the BM25 index is damaged: it names documents that it does not have; build the index again"
            )
        return documents, self._weights[part]

    def _sums(self, words: list[int]) -> Floats:
        sums = np.zeros(len(self), np.float32)
        for word in words:
            documents, weights = self._posting(word)
            sums[documents] += weights  # a document stands once in a column
        return sums

    def _search_many(
        self, columns: list[list[int]], scores: Floats, positions: Positions, threads: int | None
    ) -> None:
        from statim.kernels.search.top_k import best_postings

        words = np.array([word for row in columns for word in row], np.int32)
        starts = np.zeros(len(columns) + 1, np.int64)
        np.cumsum([len(row) for row in columns], out=starts[1:])

        def run(first: int, last: int) -> bool:
            return bool(
                best_postings(
                    self._weights, self._documents, self._offsets, words, starts[first : last + 1], len(self),
                    scores[first:last], positions[first:last],
                )
            )  # fmt: skip

        workers = pool.count(threads)
        parts = pool.ranges(len(columns), 4 * workers)  # queries differ much in cost
        if not all(pool.run([partial(run, first, last) for first, last in parts], workers)):
            raise ModelError(
                "the BM25 index is damaged: it names documents that it does not have; build the index again"
            )


def idf(documents: int, held: int) -> float:
    """What a word is worth that ``held`` of all documents hold."""
    return math.log(1 + (documents - held + 0.5) / (held + 0.5))


def joined(columns: Mapping[str, tuple[npt.NDArray[np.int32], Floats]]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a BM25 from each word's documents, ascending and not empty, and its weight in each."""
    offsets = np.zeros(len(columns) + 1, np.int64)
    np.cumsum([len(documents) for documents, _ in columns.values()], out=offsets[1:])
    spelt = "".join(f"{word}\n" for word in columns).encode("utf-8", "surrogatepass")
    return {
        "documents": np.concatenate([np.zeros(0, np.int32), *(column[0] for column in columns.values())]),
        "weights": np.concatenate([np.zeros(0, np.float32), *(column[1] for column in columns.values())]),
        "offsets": offsets,
        "words": np.frombuffer(spelt, np.uint8),
    }
