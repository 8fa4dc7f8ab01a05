"""How often the words and word pairs of a corpus occur."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from statim import spilled_array
from statim.kernels.text import counting
from statim.tokenizer.tokenizer import Tokenizer
from statim.vocabulary.spelling import Spelling

LEAST = 5  # times that a word or pair must occur
TEXTS, BYTES = 1_000_000, 32 << 20  # of a column that are counted at most; more change the choice little
BLOCK = 50_000  # texts counted at a time
WORDS, PIECES, PAIRS = 1 << 21, 1 << 24, 1 << 23  # room of the tables


@dataclass(frozen=True)
class Candidate:
    """A word, or a pair of words, and how often it occurs.

    Attributes:
        count: How often.
        pieces: The ids it is cut into.
        split: The number of ids of its first word; 0 of a single word.
    """

    count: int
    pieces: tuple[int, ...]
    split: int = 0


class Counts:
    """What occurs how often in a corpus."""

    def __init__(self, pairs: bool) -> None:
        self._slots, self._pieces = np.full(2 * WORDS, -1, np.int32), np.empty(PIECES, np.int32)
        self._places, self._counts = np.zeros(WORDS + 1, np.int64), np.zeros(WORDS, np.int64)
        self._pair_keys, self._pair_counts = (
            np.zeros(PAIRS * pairs, np.uint64),
            np.zeros(PAIRS * pairs, np.int64),
        )
        self._used = np.zeros(3, np.int64)

    @staticmethod
    def of(
        spelling: Spelling, tokenizer: Tokenizer, columns: Sequence[pa.Array], threads: int, *, pairs: bool
    ) -> "Counts":
        """Count all texts, block by block; pairs only if they are wanted."""
        found = Counts(pairs)
        for texts in blocks(columns):
            tokens = tokenizer(texts, threads=threads)
            counting.count(
                tokens.ids, tokens.offsets, spelling.flags,
                found._slots, found._pieces, found._places, found._counts,
                found._pair_keys, found._pair_counts, found._used,
            )  # fmt: skip
        tokenizer.forget()
        return found

    def _word(self, number: int) -> tuple[int, ...]:
        return tuple(self._pieces[self._places[number] : self._places[number + 1]].tolist())

    def words(self) -> list[Candidate]:
        """The words of several pieces that occur at least LEAST times."""
        used = self._used[0]
        several = np.diff(self._places[: used + 1]) > 1
        chosen = np.flatnonzero(several & (self._counts[:used] >= LEAST))
        return [Candidate(int(self._counts[number]), self._word(number)) for number in chosen.tolist()]

    def pairs(self) -> list[Candidate]:
        """The pairs that occur at least LEAST times."""
        found = []
        for slot in np.flatnonzero(self._pair_counts >= LEAST):
            key = int(self._pair_keys[slot])
            first, second = self._word(key >> 32), self._word(key & 0xFFFFFFFF)
            found.append(Candidate(int(self._pair_counts[slot]), first + second, len(first)))
        return found


def blocks(columns: Sequence[pa.Array], *, every: bool = False, most: int = BYTES) -> Iterator[pa.Array]:
    """The texts of columns in blocks: at most TEXTS and about ``most`` bytes of each, spread, or all."""
    for column in columns:
        step = 1 if every else max(1, -(-len(column) // TEXTS), -(-column.nbytes // most))
        for start in range(0, len(column), BLOCK * step):
            chosen = np.arange(start, min(start + BLOCK * step, len(column)), step)
            yield column.take(pa.array(chosen)).drop_null()
            spilled_array.release()
