"""Pairs as bags: every distinct text tokenized once, and reduced to its distinct ids with their counts.

Mean pooling ignores order, so a bag holds all that training needs of a text, at less than half the entries.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim import cache
from statim import threads as executor
from statim.data.pairs.pairs import Pairs
from statim.data.text_column import buffers
from statim.errors import ModelError
from statim.identity import Identities
from statim.kernels.text.identity import fingerprints
from statim.kernels.training.bag_hashes import bag_keys
from statim.kernels.training.batch import known_texts
from statim.kernels.training.dropout import drop
from statim.kernels.training.rows import bag, pool_bags
from statim.spilled_array import Growing, release
from statim.tensors import save_tensors
from statim.texts import Texts
from statim.tokenizer.tokenizer import CHUNK, FEW, Tokenizer
from statim.tokenizer.tokens import Tokens
from statim.training.datasets import cached_arrays
from statim.training.datasets.views import Views

FORMAT = "training-set-3"
BLOCK = 1 << 20  # entries counted at a time
TEXTS = 1 << 16  # texts compared at a time
CACHED_FROM = 10_000  # pairs; fewer are tokenized sooner than they are looked up

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Bags:
    """T texts as bags.

    Attributes:
        ids: int32, the distinct ids of all texts, one text's after the other's.
        counts: uint16, how often each occurs in its text.
        offsets: (T + 1,) int64, where each text's entries begin.
        totals: (T,) int32, tokens per text, frozen ones included.
    """

    ids: npt.NDArray[np.int32]
    counts: npt.NDArray[np.uint16]
    offsets: npt.NDArray[np.int64]
    totals: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        for array in (self.ids, self.counts, self.offsets, self.totals):
            array.flags.writeable = False  # as from the cache, so that one compiled kernel serves both

    @staticmethod
    def of(tokens: Tokens, vocabulary: int, *, frozen: int | None = None, threads: int = 1) -> "Bags":
        """Count the tokens of each text.

        Args:
            tokens: T texts.
            vocabulary: One more than the largest id.
            frozen: An id that gets no entry but counts in the totals (the unknown token, whose row stays
                zero).
            threads: Threads to use.
        """
        sizes = np.zeros(len(tokens), np.int64)

        def work(start: int, end: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint16]]:
            length = int(tokens.offsets[end] - tokens.offsets[start])
            ids, counts = np.empty(length, np.int32), np.empty(length, np.uint16)
            seen = np.full(vocabulary, -1, np.int32)
            written = bag(
                tokens.ids,
                tokens.offsets,
                start,
                end,
                -1 if frozen is None else frozen,
                seen,
                ids,
                counts,
                sizes,
            )
            return ids[:written].copy(), counts[:written].copy()

        parts = executor.run(
            [partial(work, *bounds) for bounds in executor.ranges(len(tokens), threads)], threads
        )
        offsets = np.zeros(len(tokens) + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        return Bags(
            np.concatenate([ids for ids, _ in parts]),
            np.concatenate([counts for _, counts in parts]),
            offsets,
            tokens.lengths.astype(np.int32),
        )

    def firsts(self) -> npt.NDArray[np.int32]:
        """For each text the first that has the same ids as often, (T,); one without any is its own.

        Such texts have the same vector in every model: the tokenizer sees no difference (case, white space),
            or only the order differs.
        """
        identities, places = Identities(), Growing(np.int32)
        found = np.empty(len(self.totals), np.int32)
        for start in range(0, len(found), TEXTS):
            part = slice(start, min(start + TEXTS, len(found)))
            keys = bag_keys(self.ids, self.counts, self.offsets, self.totals, start, part.stop)
            found[part], new = identities(keys)
            places.append((start + new).astype(np.int32))
            release()
        return places.finish()[found]

    def frequencies(self, vocabulary: int) -> npt.NDArray[np.float64]:
        """How often each of the ids occurs in all texts, (vocabulary,)."""
        total = np.zeros(vocabulary)
        for start in range(0, len(self.ids), BLOCK):
            part = slice(start, start + BLOCK)
            total += np.bincount(self.ids[part], self.counts[part], vocabulary)
        return total

    @staticmethod
    def joined(first: "Bags", second: "Bags") -> "Bags":
        """The texts of both, those of the second numbered on; in mapped files where they are many."""
        parts = []
        for name, dtype in (("ids", np.int32), ("counts", np.uint16), ("totals", np.int32)):
            part = Growing(dtype)
            part.append(getattr(first, name))
            part.append(getattr(second, name))
            parts.append(part.finish())
        offsets = np.concatenate([first.offsets, second.offsets[1:] + first.offsets[-1]])
        return Bags(parts[0], parts[1], offsets, parts[2])

    def pooled(self, table: Floats, texts: npt.NDArray[np.integer[Any]], threads: int) -> Floats:
        """The vectors of some texts (m,) by a table (V, d), not normalised: (m, d) float32."""
        out = np.empty((len(texts), table.shape[1]), np.float32)
        slots, chosen = np.arange(len(table), dtype=np.int32), texts.astype(np.int64)
        entries = self.ids, self.counts, self.offsets, self.totals, chosen
        parts = executor.ranges(len(texts), threads)
        executor.run([partial(pool_bags, table, slots, *entries, *part, out) for part in parts], threads)
        return out

    def dropped(self, texts: npt.NDArray[np.int64], key: int, probability: float) -> "Bags":
        """The bags of some texts (m,), entries dropped at random; counts stay, totals are of what is left.

        What is left out follows from the key and the text alone. A text that would lose everything loses
        nothing.
        """
        most = int((self.offsets[texts + 1] - self.offsets[texts]).sum())
        ids, counts = np.empty(most, np.int32), np.empty(most, np.uint16)
        offsets, totals = np.empty(len(texts) + 1, np.int64), np.empty(len(texts), np.int32)
        drop(
            self.ids, self.counts, self.offsets, self.totals, texts, np.uint64(key), threshold(probability),
            ids, counts, offsets, totals,
        )  # fmt: skip
        return Bags(ids[: offsets[-1]], counts[: offsets[-1]], offsets, totals)


def threshold(probability: float) -> int:
    """Of the 32 bits that decide whether an entry is left out."""
    return round(probability * 2**32)


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """n pairs over T distinct texts.

    Attributes:
        bags: The T texts.
        anchors: (n,) int32, the text of each pair's anchor.
        candidates: (n, 1 + k) int32, the texts of each pair's positive and of its explicit negatives, -1 for
            none.
        known: int32, what is no negative of each text as an anchor: its positives anywhere in the data, and
            the text itself; one text's after the other's.
        known_offsets: (T + 1,) int64, where each text's begin.
        names: The names of the data sets that the pairs are of.
        sets: (n,) uint16, the data set of each pair, by its position in ``names``.
        views: What a teacher makes of the texts, where the loss needs it.
        same: How many of the T texts count as an earlier one, which has the same vector in every model; see
            ``Bags.firsts``.
    """

    bags: Bags
    anchors: npt.NDArray[np.int32]
    candidates: npt.NDArray[np.int32]
    known: npt.NDArray[np.int32]
    known_offsets: npt.NDArray[np.int64]
    names: tuple[str, ...]
    sets: npt.NDArray[np.uint16]
    views: Views | None = None
    same: int = 0

    def __post_init__(self) -> None:
        for array in (self.anchors, self.candidates, self.known, self.known_offsets):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.anchors)

    def remark(self) -> str:
        """A sentence on texts that count as the same, for a person; empty where there are none."""
        if not self.same:
            return ""
        own = int((self.candidates[:, 1:] == self.candidates[:, :1]).sum())
        negatives = f"; {own:,} of the given negatives are their pair's positive in this sense" if own else ""
        return (
            f"{self.same:,} texts count as the same as another one, since the model cannot tell them "
            "apart (they differ in case, "
            f"white space or order){negatives}"
        )

    @staticmethod
    def of(pairs: Pairs, tokenizer: Tokenizer, *, threads: int = 1) -> "TrainingSet":
        """Tokenize the distinct texts of ``pairs`` and find each anchor's known positives.

        From CACHED_FROM pairs on this is done once for the same pairs and tokenizer; then it is read from the
        cache, memory-mapped.
        """
        if len(pairs) < CACHED_FROM:
            return TrainingSet._of(pairs, tokenizer, threads)
        key = hashlib.sha256(f"{FORMAT} {pairs.hash} {tokenizer.hash}".encode()).hexdigest()[:32]
        path = cache.folder("tokens") / f"{key}.safetensors"
        with contextlib.suppress(ModelError):
            return TrainingSet._load(path, pairs, tokenizer.vocabulary_size)
        made = TrainingSet._of(pairs, tokenizer, threads)
        with contextlib.suppress(ModelError), cache.writing():
            save_tensors(path, made._arrays(), {"same": str(made.same)}, sealed=True)
            return TrainingSet._load(path, pairs, tokenizer.vocabulary_size)
        return made

    @staticmethod
    def _of(pairs: Pairs, tokenizer: Tokenizer, threads: int) -> "TrainingSet":
        """Read in blocks, so that memory holds the pairs' numbers and one block of texts and tokens."""
        texts = _Texts(tokenizer, threads)
        columns = [pairs.anchors, pairs.positives, *pairs.negatives]
        ids = np.empty((len(columns), len(pairs)), np.int32)

        def fresh() -> Iterator[pa.LargeStringArray]:
            for start, stop in pairs.bounds():
                for column, out in zip(columns, ids, strict=True):
                    out[start:stop], new = texts.numbers(column.slice(start, stop - start))
                    yield new

        texts.add(fresh(), few=len(pairs) <= FEW)
        bags = texts.finish()
        firsts = bags.firsts()
        same = int((firsts != np.arange(len(firsts))).sum())
        if same:  # texts of equal vectors are one text, so that none is another's negative
            for row in ids:
                row[row >= 0] = firsts[row[row >= 0]]
        anchors, candidates = ids[0].copy(), np.ascontiguousarray(ids[1:].T)
        known, known_offsets = known_texts(anchors, ids[1], len(bags.totals))
        return TrainingSet(
            bags, anchors, candidates, known, known_offsets, pairs.names, pairs.sets, same=same
        )

    def _arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        own = {name: getattr(self, name) for name in ("anchors", "candidates", "known", "known_offsets")}
        return own | {name: getattr(self.bags, name) for name in ("ids", "counts", "offsets", "totals")}

    @staticmethod
    def _load(path: Path, pairs: Pairs, vocabulary: int) -> "TrainingSet":
        found, same = cached_arrays.read(path, len(pairs), 1 + len(pairs.negatives), vocabulary)
        bags = Bags(found["ids"], found["counts"], found["offsets"], found["totals"])
        return TrainingSet(
            bags, found["anchors"], found["candidates"], found["known"], found["known_offsets"],
            pairs.names, pairs.sets, same=same,
        )  # fmt: skip


class _Texts:
    """Distinct texts, in the order in which they come, as bags that grow."""

    def __init__(self, tokenizer: Tokenizer, threads: int) -> None:
        self._tokenizer, self._threads = tokenizer, threads
        self._seen = Identities()
        self._ids, self._counts = Growing(np.int32), Growing(np.uint16)
        self._sizes, self._totals = Growing(np.int32), Growing(np.int32)

    def __len__(self) -> int:
        return len(self._totals)

    def numbers(self, texts: pa.LargeStringArray) -> tuple[npt.NDArray[np.int32], pa.LargeStringArray]:
        """The numbers of texts, -1 for missing ones, and those that are new and must be added."""
        present = (
            texts.drop_null() if texts.null_count else texts
        )  # copies are expensive: fresh memory is slow
        ids, firsts = self._seen(fingerprints(*buffers(present)))
        numbers = np.full(len(texts), -1, np.int32)
        numbers[np.asarray(texts.is_valid())] = ids
        return numbers, present if len(firsts) == len(present) else present.take(pa.array(firsts))

    def add(self, blocks: Iterable[pa.LargeStringArray], *, few: bool) -> None:
        """Tokenize new texts while the next are found; a few are not worth loading compiled code for."""
        workers = 1 if few else self._tokenizer.workers(self._threads)
        vocabulary, frozen = self._tokenizer.vocabulary_size, self._tokenizer.unknown_id

        def made(chunk: list[str]) -> Bags:
            tokens = self._tokenizer.chunk(chunk, threads=self._threads)
            return Bags.of(tokens, vocabulary, frozen=frozen, threads=self._threads)

        chunks = (chunk for block in blocks for _, chunk in Texts.of(block).chunks(CHUNK))
        for bags in executor.stream(made, chunks, workers):
            self._ids.append(bags.ids)
            self._counts.append(bags.counts)
            self._sizes.append(np.diff(bags.offsets))
            self._totals.append(bags.totals)

    def finish(self) -> Bags:
        """All of them."""
        self._tokenizer.forget()
        self._seen = Identities()  # gives back its memory
        offsets = np.zeros(len(self) + 1, np.int64)
        np.cumsum(self._sizes.finish(), out=offsets[1:])
        return Bags(self._ids.finish(), self._counts.finish(), offsets, self._totals.finish())
