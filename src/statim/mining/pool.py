"""Distinct anchors, the distinct documents that their negatives come from, and what belongs together."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.data.dedup.folding import numbered
from statim.data.pairs.pairs import Pairs
from statim.errors import DataError

Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pool:
    """m anchors and n documents.

    Attributes:
        anchors: The m distinct anchors, in the order in which they come first.
        documents: The n distinct texts of the corpus, then of the positives.
        positives: The positives of all anchors as documents, one anchor's after the other's, each once.
        offsets: (m + 1,) where each anchor's begin.
        numbers: (n,) a number of each document; those that differ in case and white space alone have the
            same.
        own: (m,) the number of the documents of the same text as each anchor, likewise, -1 where there are
            none.
        anchor_rows: (m,) the row of the pairs in which each anchor comes first.
        document_rows: (n,) the place in corpus and positives together at which each document comes first.
    """

    anchors: pa.LargeStringArray
    documents: pa.LargeStringArray
    positives: Longs
    offsets: Longs
    numbers: Longs
    own: Longs
    anchor_rows: Longs
    document_rows: Longs

    @staticmethod
    def of(pairs: Pairs, corpus: pa.LargeStringArray | None = None) -> "Pool":
        """The anchors of ``pairs``, and the documents of the corpus and of their positives."""
        texts = pairs.positives if corpus is None else pa.concat_arrays([corpus, pairs.positives])
        document_ids, documents, document_rows = _distinct(texts)
        anchor_ids, anchors, anchor_rows = _distinct(pairs.anchors)
        n = len(documents)
        of_pairs = document_ids[len(texts) - len(pairs) :]
        # of each anchor its positives, each once, in the order in which they come
        _, firsts = np.unique(anchor_ids * n + of_pairs, return_index=True)
        firsts = firsts[np.lexsort((firsts, anchor_ids[firsts]))]
        offsets = np.searchsorted(anchor_ids[firsts], np.arange(len(anchors) + 1))
        numbers, own = numbered(documents, anchors)
        own[own > numbers.max(initial=-1)] = -1
        return Pool(
            anchors, documents, of_pairs[firsts], offsets, numbers, own, anchor_rows, document_rows
        )  # fmt: skip

    @property
    def owners(self) -> Longs:
        """The anchor of each of the positives."""
        return np.repeat(np.arange(len(self.anchors)), np.diff(self.offsets))

    @property
    def most(self) -> int:
        """The most documents that are no negatives of an anchor: positives, own text, their variants."""
        sizes = np.bincount(self.numbers)
        positives = np.add.reduceat(sizes[self.numbers[self.positives]], self.offsets[:-1])
        return int(positives.max() + sizes[self.own[self.own >= 0]].max(initial=0))

    def check(self, negatives: int) -> None:
        """Refuse documents that are fewer than the negatives wanted.

        Raises:
            DataError: They are.
        """
        if len(self.documents) <= negatives:
            raise DataError(
                f"there are {len(self.documents):,} different documents, too few for {negatives:,} "
                "negatives of each anchor; give more documents (a corpus), or ask for fewer negatives"
            )


def _distinct(texts: pa.LargeStringArray) -> tuple[Longs, pa.LargeStringArray, Longs]:
    """The number of each text, the distinct texts in the order of their first places, and these places."""
    encoded = texts.dictionary_encode()
    numbers = np.asarray(encoded.indices, np.int64)
    _, rows = np.unique(numbers, return_index=True)
    return numbers, encoded.dictionary, rows.astype(np.int64)
