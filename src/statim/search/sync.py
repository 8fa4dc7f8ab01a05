"""An index brought to what its files hold now: documents are added, replaced and deleted.

They are told apart by their ids and compared by a hash of their texts and all other columns, so what stayed
as it was is not encoded again. The change takes place whole or not at all, as every change of an index.
"""

import hashlib
from collections.abc import Iterable, Iterator, Set
from typing import TYPE_CHECKING, NamedTuple

from statim.errors import DataError, InputError
from statim.search.passages import document_of

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 1 << 14  # compared at a time


class Synced(NamedTuple):
    """How many documents were ``added``, ``updated``, ``deleted`` and ``unchanged``."""

    added: int
    updated: int
    deleted: int
    unchanged: int

    @property
    def changed(self) -> bool:
        """Whether there was anything to do."""
        return self.added + self.updated + self.deleted > 0


class Difference:
    """What of some documents an index lacks, found while they are read.

    Attributes:
        counts: What was found, once all are read.
        gone: The ids that no document has any more, likewise.

    Args:
        schema: The columns of the index.
        there: Its documents.
        passages: Whether these are passages; what is counted are the documents that they are of.
    """

    def __init__(self, schema: "pa.Schema", there: "Iterable[pa.Table]", *, passages: bool = False) -> None:
        self._schema, self._passages = schema, passages
        self._known = {name: digest for table in there for name, digest in _digests(table)}
        self._seen: set[str] = set()
        self._changed: list[str] = []

    def of(self, documents: "Iterable[pa.Table]") -> "Iterator[pa.Table]":
        """The documents that are new or changed.

        Raises:
            DataError: An id stands twice, or a document does not fit the index.
        """
        import pyarrow as pa

        from statim.search.stores.documents import aligned

        for table in documents:
            places = []
            for place, (name, digest) in enumerate(_digests(aligned(table, self._schema))):
                if name in self._seen:
                    name = document_of(name) if self._passages else name
                    raise DataError(f"the id {name[:80]!r} stands twice; ids must differ")
                self._seen.add(name)
                if self._known.get(name) != digest:
                    self._changed.append(name)
                    places.append(place)
            if places:
                yield table.take(pa.array(places))

    @property
    def gone(self) -> list[str]:
        """The ids that none of the documents has."""
        return [name for name in self._known if name not in self._seen]

    @property
    def counts(self) -> Synced:
        """What was found, as far as documents were read."""
        gone = self.gone
        known, seen = self._documents(self._known.keys()), self._documents(self._seen)
        changed = self._documents({*self._changed, *gone})
        updated = sum(name in known and name in seen for name in changed)
        added = sum(name not in known for name in changed)
        return Synced(added, updated, len(changed) - added - updated, len(seen) - added - updated)

    def _documents(self, names: Set[str]) -> Set[str]:
        return {document_of(name) for name in names} if self._passages else names

    def check(self) -> None:
        """Refuse what would leave nothing.

        Raises:
            InputError: No document was read.
        """
        if not self._seen:
            raise InputError("there are no documents, so all would be deleted; an index has at least one")


def _digests(table: "pa.Table") -> Iterator[tuple[str, bytes]]:
    """The id of each document, and a hash of its text and all that is known of it."""
    from statim.data.files.rows import as_text

    for start in range(0, len(table), ROWS):
        for row in table.slice(start, ROWS).to_pylist():
            hashed = hashlib.blake2b((as_text(row) or "").encode(), digest_size=16)
            yield row["id"], hashed.digest()
