"""What is served, by name: models, and indexes with their models."""

import contextlib
import os
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from statim.addresses import is_database, looks_like_one
from statim.errors import InputError, ModelError, StatimError
from statim.model import StaticModel
from statim.search.index import Index
from statim.search.stores.protocol import MANIFEST
from statim.server.encoder import Encoder
from statim.server.options import ServerOptions
from statim.server.refusals import ApiError

R = TypeVar("R")

NAME = re.compile(r"[\w.-]{1,100}")


class Entry:
    """A model or an index that is served.

    Args:
        name: What requests call it.
        place: Where it is.
        options: Limits.

    Raises:
        ModelError: There is neither a model nor an index at ``place``.
    """

    def __init__(self, name: str, place: str, options: ServerOptions) -> None:
        self.name, self.place = name, place
        self._options = options
        self._lock = threading.RLock()
        self._stamp: Any = None
        self._index: Index | None = None
        self.is_index = is_database(place) or (Path(place) / MANIFEST).is_file()
        if self.is_index:
            self._open()
        else:
            self._encoder = self._encoding(StaticModel.load(place))

    def _encoding(self, model: StaticModel) -> Encoder:
        return Encoder(model, self._options.max_batch, self._options.max_tokens)

    def _now(self) -> Any:
        """What tells the index's present state from others; None for a database, which is asked each time."""
        if is_database(self.place):
            return None
        try:
            found = os.stat(Path(self.place) / MANIFEST)
        except OSError:
            raise ModelError(
                f"the index {self.name} is not at its place any more; put it back, or stop serving it"
            ) from None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _open(self) -> None:
        self._stamp = self._now()
        index = Index.load(self.place)
        if self._index is None or not index.model.matches_hash(self._encoder.model.hash):
            self._encoder = self._encoding(index.model)
        self._index = index

    def index(self) -> Index:
        """The index, as it is now: read again if another process has changed it.

        Raises:
            ApiError: This is a model alone.
            ModelError: It is not there any more, or is damaged.
        """
        if self._index is None:
            raise ApiError(
                422, f"{self.name} is a model, not an index; name an index", "not_an_index", "index"
            )
        if self._stamp != self._now():
            with self._lock:
                if self._stamp != self._now():
                    self._open()
        return self._index

    def encoder(self) -> Encoder:
        """What turns texts into vectors."""
        if self.is_index:
            self.index()
        return self._encoder

    @property
    def model(self) -> StaticModel:
        """The model, as it was when it was read last."""
        return self._encoder.model

    def change(self, change: Callable[[Index], R]) -> R:
        """Change the index; changes wait for each other.

        Raises:
            ApiError: The server does not allow changes.
        """
        if not self._options.writable:
            raise ApiError(
                403, "this server does not change indexes; start it with --writable to allow it", "read_only"
            )
        with self._lock:
            done = change(self.index())
            self._stamp = self._now()  # the index has read its own change
            return done


class Catalog:
    """All that is served.

    Args:
        places: Models (a folder, word vectors, a name on the hub) and indexes (a folder, an address);
            each may be ``NAME=PLACE``.
        options: Limits.

    Raises:
        InputError: There are none, two have one name, or a name has signs that an address cannot hold.
        ModelError: There is neither a model nor an index at a place.
    """

    def __init__(self, places: Iterable[str], options: ServerOptions) -> None:
        self.options = options
        self.entries: dict[str, Entry] = {}
        for given in places:
            name, place = _named(given)
            if name in self.entries:
                raise InputError(f"two of the given are called {name}; name one of them, like other={place}")
            self.entries[name] = Entry(name, place, options)
        if not self.entries:
            raise InputError("there is nothing to serve; give a model or an index")

    def warm(self) -> None:
        """Search each index once, so that what the first search has to load is there."""
        for entry in self.entries.values():
            if entry.is_index:
                with contextlib.suppress(StatimError):
                    entry.index().search("a", 1, where="id != ''", threads=1)

    def is_quick(self, asked: Any) -> bool:
        """Is this a request to a model? That of an index may have to be read again, or wait for a change.

        Raises:
            ApiError: As for ``find``.
        """
        return not self.find(asked.model).is_index

    def find(self, name: str | None, *, index: bool = False) -> Entry:
        """What a request asks for; without a name the first, with ``index`` the first index.

        Raises:
            ApiError: There is none of this name.
        """
        if name is None:
            found = next((entry for entry in self.entries.values() if entry.is_index or not index), None)
            if found is None:
                raise ApiError(404, "no index is served here; start the server with one", "index_not_found")
            return found
        if name not in self.entries:
            listed = ", ".join(entry for entry, is_a in self.entries.items() if is_a.is_index or not index)
            what = "index" if index else "model"
            raise ApiError(
                404, f"there is no {what} {name[:80]!r} here; there is {listed or 'none'}",
                f"{what}_not_found", what,
            )  # fmt: skip
        return self.entries[name]


def _named(given: str) -> tuple[str, str]:
    """The name and the place of ``NAME=PLACE``, or of a place alone."""
    name, sign, place = given.partition("=")
    if sign and NAME.fullmatch(name) and not looks_like_one(given) and not Path(given).exists():
        return name, place
    if is_database(given):
        return "documents", given
    name = re.sub(r"[^\w.-]+", "-", Path(given).resolve().name if Path(given).exists() else given)
    if not NAME.fullmatch(name):
        raise InputError(f"{given[:80]!r} makes no name for requests; give it one, like name={given[:80]}")
    return name, given
