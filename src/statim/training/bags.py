"""Pairs as bags: every distinct text tokenized once, and reduced to its distinct ids with their counts.

Mean pooling ignores order, so a bag holds all that training needs of a text, at less than half the entries.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim import threads as pool
from statim.data.pairs import Pairs
from statim.kernels.rows import bag
from statim.tokenizer import Tokenizer
from statim.tokens import Tokens


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

    @staticmethod
    def of(tokens: Tokens, vocabulary: int, *, frozen: int | None = None, threads: int = 1) -> "Bags":
        """Count the tokens of each text.

        Args:
            tokens: T texts.
            vocabulary: One more than the largest id.
            frozen: An id that gets no entry but counts in the totals (the unknown token, whose row stays zero).
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

        parts = pool.run([partial(work, *bounds) for bounds in pool.ranges(len(tokens), threads)], threads)
        offsets = np.zeros(len(tokens) + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        return Bags(
            np.concatenate([ids for ids, _ in parts]),
            np.concatenate([counts for _, counts in parts]),
            offsets,
            tokens.lengths.astype(np.int32),
        )


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """n pairs over T distinct texts.

    Attributes:
        bags: The T texts.
        anchors: (n,) int32, the text of each pair's anchor.
        candidates: (n, 1 + k) int32, the texts of each pair's positive and of its explicit negatives, -1 for none.
        known: int32, what is no negative of each text as an anchor: its positives anywhere in the data, and the text itself;
            one text's after the other's.
        known_offsets: (T + 1,) int64, where each text's begin.
    """

    bags: Bags
    anchors: npt.NDArray[np.int32]
    candidates: npt.NDArray[np.int32]
    known: npt.NDArray[np.int32]
    known_offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.anchors)

    @staticmethod
    def of(
        pairs: Pairs, tokenizer: Tokenizer, *, max_tokens: int | None = None, threads: int = 1
    ) -> "TrainingSet":
        """Tokenize the distinct texts of ``pairs`` and find each anchor's known positives."""
        columns = [pairs.anchors, pairs.positives, *pairs.negatives]
        texts = pa.chunked_array([column.cast(pa.large_string()) for column in columns]).combine_chunks()
        encoded = texts.dictionary_encode()
        indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
        by_column = indices.reshape(len(columns), len(pairs))
        tokens = tokenizer(encoded.dictionary, max_tokens=max_tokens, threads=threads)
        bags = Bags.of(tokens, tokenizer.vocabulary_size, frozen=tokenizer.unknown_id, threads=threads)
        anchors, candidates = by_column[0].copy(), np.ascontiguousarray(by_column[1:].T)
        sources = anchors.astype(np.int64) << 32
        links = np.unique(np.concatenate([sources | candidates[:, 0], sources | anchors]))
        known_offsets = np.zeros(len(tokens) + 1, np.int64)
        np.cumsum(np.bincount(links >> 32, minlength=len(tokens)), out=known_offsets[1:])
        return TrainingSet(bags, anchors, candidates, (links & 0xFFFFFFFF).astype(np.int32), known_offsets)
