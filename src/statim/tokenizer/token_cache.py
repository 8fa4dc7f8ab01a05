"""The ids of pieces of text, remembered: most of a text are words that were seen before."""

import os
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from statim.kernels.text import pieces
from statim.tokenizer.boundaries import Boundaries
from statim.tokenizer.tokens import Tokens

ENTRIES = 1 << 18  # pieces; more than most corpora repeat
KEYS = 16 * ENTRIES  # bytes of all of them
VALUES = 2 * ENTRIES  # ids of those that have more than an entry holds
NO_LIMIT = 1 << 62
NOTHING = Tokens(np.zeros(0, np.int32), np.zeros(1, np.int64))
WINDOW = 1 << 17  # bytes of texts after which it is judged whether words repeat
PAUSES = 4, 64  # windows that are passed over, the first time and at most
DEAR = 0.9  # of the cost of whole texts
START = 20  # bytes that are tokenized in the time it takes to begin with a text

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]


class Table(NamedTuple):
    """A hash table from pieces to their ids; see kernels.text.pieces. Memory is taken as it is used."""

    slots: npt.NDArray[np.int32]
    entries: npt.NDArray[np.uint64]
    keys: Bytes
    values: npt.NDArray[np.int32]
    used: Offsets

    @staticmethod
    def empty() -> "Table":
        """A table without pieces."""
        return Table(
            np.full(2 * ENTRIES, -1, np.int32),
            np.empty((ENTRIES, 4), np.uint64),
            np.empty(KEYS, np.uint8),
            np.empty(VALUES, np.int32),
            np.zeros(3, np.int64),
        )


class Payoff:
    """Tells whether words repeat often enough to be worth remembering.

    Texts whose words never come again (hashes, numbers, Chinese) are tokenized sooner as a whole. After a
    window of such texts the next are passed over: four windows, then four times as many, and so on, with
    another look in between. The first window of all, in which every word is new, does not count. Everything
    follows from the texts alone; threads that count at once may lose a count, which changes when the next
    look is, never an id.
    """

    def __init__(self) -> None:
        self._seen, self._cost, self._left, self._pause = -WINDOW, 0, 0, PAUSES[0]

    def passes_over(self, texts: list[str]) -> bool:
        """Are these texts better tokenized as a whole?"""
        if self._left <= 0:
            return False
        self._left -= sum(map(len, texts))
        return True

    def count(self, texts: int, size: int, pieces: int, new: int) -> None:
        """Count texts: how many and of how many bytes; and pieces that had to be tokenized, likewise."""
        cold = self._seen < 0
        self._seen += size + START * texts
        self._cost += 0 if cold else new + START * pieces
        if cold and self._seen >= 0:
            self._seen = 0
        elif self._seen >= WINDOW:
            dear = self._cost > DEAR * self._seen
            self._left = WINDOW * self._pause if dear else 0
            self._pause = min(4 * self._pause, PAUSES[1]) if dear else PAUSES[0]
            self._seen = self._cost = 0


class Memo:
    """Turns texts into ids piece by piece, and remembers those of each.

    Any number of threads may use it at once.

    Attributes:
        payoff: Whether that is worth while for texts like those seen last.

    Args:
        boundaries: Where texts may be cut.
        tokenize: Gives the Tokens of some pieces, each taken as a text of its own, on a number of threads.
    """

    def __init__(self, boundaries: Boundaries, tokenize: Callable[[list[str], int], Tokens]) -> None:
        self._punctuation, self._tokenize = boundaries.punctuation, tokenize
        whole = [token.encode() for token in boundaries.whole]
        self._whole = np.frombuffer(b"".join(whole), np.uint8)
        self._whole_offsets = np.cumsum([0, *map(len, whole)])
        self._table, self._adding, self._process = Table.empty(), threading.Lock(), os.getpid()
        self.payoff = Payoff()

    def __call__(
        self,
        data: Bytes,
        offsets: Offsets,
        max_tokens: int | None,
        threads: int,
        whole: int | None = None,
    ) -> Tokens:
        """The ids of n texts.

        Args:
            data: UTF-8 bytes.
            offsets: (n + 1,): text i is data[offsets[i]:offsets[i + 1]].
            max_tokens: Cut each text after this many tokens.
            threads: Those that new pieces may be tokenized on; all else runs on this one.
            whole: How many texts would be tokenized instead, where these are parts of them; None where they
                are not.
        """
        table = self._table
        most = int(offsets[-1] - offsets[0])
        found, ends = np.empty(most, np.int32), np.empty(len(offsets), np.int64)
        missing = np.empty((most, 2), np.int64)
        misses, total = pieces.look_up(
            data, offsets, pieces.plain_characters(), self._punctuation, self._whole, self._whole_offsets,
            table.slots, table.entries, table.keys, found, ends, missing,
        )  # fmt: skip
        spans = missing[:misses]
        distinct, which = _distinct(data, spans)
        self.payoff.count(
            len(offsets) - 1 if whole is None else whole, most, len(distinct), sum(map(len, distinct))
        )
        new = self._tokenize(distinct, threads).select(which) if distinct else NOTHING
        ids, id_offsets = np.empty(total + len(new.ids), np.int32), np.empty(len(offsets), np.int64)
        limit = NO_LIMIT if max_tokens is None else max_tokens
        count = pieces.collect(
            found, ends, table.entries, table.values, new.ids, new.offsets, limit, ids, id_offsets
        )
        if misses:
            if (
                self._process != os.getpid()
            ):  # a fork: the thread that held the lock, if one did, is not here to let it go
                self._adding, self._process = threading.Lock(), os.getpid()
            with self._adding:
                if table is self._table and not pieces.remember(data, spans, new.ids, new.offsets, *table):
                    self._table = Table.empty()  # full: begin again; other threads may still read the old one
        return Tokens(ids[:count], id_offsets)


def _distinct(data: Bytes, spans: Offsets) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The distinct pieces of data[start:stop] for ``spans``, (m, 2), and the index of each, (m,)."""
    places: dict[str, int] = {}
    view = memoryview(data.data)
    which = [places.setdefault(str(view[start:stop], "utf-8"), len(places)) for start, stop in spans.tolist()]
    return list(places), np.array(which, np.int64)
