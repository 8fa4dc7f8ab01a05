"""The ids of pieces of text, remembered: most of a text are words that were seen before."""

import os
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from statim.boundaries import Boundaries
from statim.kernels import pieces
from statim.tokens import Tokens

ENTRIES = 1 << 18  # pieces; more than most corpora repeat
KEYS = 16 * ENTRIES  # bytes of all of them
VALUES = 2 * ENTRIES  # ids of those that have more than an entry holds
NO_LIMIT = 1 << 62

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]


class Table(NamedTuple):
    """A hash table from pieces to their ids; see kernels.pieces. Memory is taken as it is used."""

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


class Memo:
    """Turns texts into ids piece by piece, and remembers those of each. Any number of threads may use it at once.

    Args:
        boundaries: Where texts may be cut.
        tokenize: Gives the Tokens of some pieces, each taken as a text of its own, on so many threads.
    """

    def __init__(self, boundaries: Boundaries, tokenize: Callable[[list[str], int], Tokens]) -> None:
        self._punctuation, self._tokenize = boundaries.punctuation, tokenize
        whole = [token.encode() for token in boundaries.whole]
        self._whole = np.frombuffer(b"".join(whole), np.uint8)
        self._whole_offsets = np.cumsum([0, *map(len, whole)])
        self._table, self._adding, self._process = Table.empty(), threading.Lock(), os.getpid()

    def __call__(self, data: Bytes, offsets: Offsets, max_tokens: int | None, threads: int) -> Tokens:
        """The ids of n texts.

        Args:
            data: UTF-8 bytes.
            offsets: (n + 1,): text i is data[offsets[i]:offsets[i + 1]].
            max_tokens: Cut each text after this many tokens.
            threads: Those that new pieces may be tokenized on; all else runs on this one.
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
        new = self._tokens_of(data, spans, threads)
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
                    self._table = Table.empty()  # full: begin anew; other threads may still read the old one
        return Tokens(ids[:count], id_offsets)

    def _tokens_of(self, data: Bytes, spans: Offsets, threads: int) -> Tokens:
        """The ids of data[start:stop] for each (start, stop) of ``spans``, (m, 2); equal pieces are tokenized once."""
        if len(spans) == 0:
            return Tokens(np.zeros(0, np.int32), np.zeros(1, np.int64))
        places: dict[str, int] = {}
        view = memoryview(data.data)
        which = [
            places.setdefault(str(view[start:stop], "utf-8"), len(places)) for start, stop in spans.tolist()
        ]
        return self._tokenize(list(places), threads).select(np.array(which))
