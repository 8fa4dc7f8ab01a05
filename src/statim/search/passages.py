"""Long documents as passages with their parent: one vector stands for a few sentences, not for a manual.

An index of passages has a row for each of them. Its id is the document's with ``#`` and a number behind;
PARENT, NUMBER and PAGE are columns beside the document's own. A search finds passages and gives each document
once, with its best one. The manifest says so (KEY); an index without it holds whole documents.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from statim.errors import DataError
from statim.search.filters.conditions import Condition, renamed
from statim.search.marks import Marker

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("statim")

KEY = "passages"  # in the manifest
PARENT, NUMBER, PAGE = "passage_of", "passage_number", "passage_page"
OWN = (PARENT, NUMBER, PAGE)
MORE = 4  # passages looked at for each document wanted, and again as many times more where they are too few
SNIPPET = 200  # characters shown of a passage
LONG = 3000  # characters of a whole document that one vector hardly stands for


class Passage(Protocol):
    """What a search gives of a passage."""

    @property
    def metadata(self) -> dict[str, Any]:
        """The passage's columns."""


Found = TypeVar("Found", bound=Passage)


def cut(documents: "Iterable[pa.Table]") -> "Iterator[pa.Table]":
    """The passages of documents, with the documents' other columns; a document without words is one passage.

    Raises:
        DataError: The documents have a column of the name of one of OWN.
    """
    import pyarrow as pa

    for table in documents:
        if taken := [name for name in OWN if name in table.column_names]:
            raise DataError(
                f"the documents have the column {taken[0]!r}, which an index of passages makes itself; "
                "rename it"
            )
        places, texts, numbers, pages = [], [], [], []
        for place, text in enumerate(table.column("text").to_pylist()):
            for number, (page, passage) in enumerate(_passages(text), 1):
                places.append(place)
                texts.append(passage)
                numbers.append(number)
                pages.append(page)
        rows = table.take(pa.array(places, pa.int64()))
        parents = rows.column("id").to_pylist()
        names = [f"{parent}#{number}" for parent, number in zip(parents, numbers, strict=True)]
        made = {"id": pa.array(names, pa.string()), "text": pa.array(texts, pa.large_string())}
        made |= {name: rows.column(name) for name in rows.column_names if name not in made}
        made |= {PARENT: pa.array(parents, pa.string()), NUMBER: pa.array(numbers, pa.int64())}
        yield pa.table(made | {PAGE: pa.array(pages, pa.int64())})


def _passages(text: str) -> list[tuple[int | None, str]]:
    """The passages of a text, each with its page, where the text has several."""
    from statim.data.documents.passages import passages

    pages = text.split("\f")
    found = [
        (number if len(pages) > 1 else None, passage)
        for number, page in enumerate(pages, 1)
        for passage in passages(page)
    ]
    return found or [(None, "")]


def with_own(schema: "pa.Schema") -> "pa.Schema":
    """The columns of passages of documents with some columns."""
    import pyarrow as pa

    for name, kind in zip(OWN, (pa.string(), pa.int64(), pa.int64()), strict=True):
        schema = schema.append(pa.field(name, kind))
    return schema


def about_documents(condition: Condition, columns: Iterable[str]) -> Condition:
    """A condition on documents as one on their passages: ``id`` is the document's."""
    return renamed(condition, {name: name for name in columns} | {"id": PARENT})


def document_of(name: str) -> str:
    """The id of the document that a passage of this id is of."""
    return name.rpartition("#")[0]


def documents_in(passages: "Iterable[pa.Table]") -> set[str]:
    """The ids of the documents that some passages are of."""
    return {name for table in passages for name in table.column(PARENT).to_pylist()}


def of_parents(there: "Iterable[pa.Table]", parents: Iterable[str]) -> list[str]:
    """The ids of the passages that an index has of some documents."""
    wanted = set(parents)
    return [
        name
        for table in there
        for name, parent in zip(*(table.column(one).to_pylist() for one in ("id", PARENT)), strict=True)
        if parent in wanted
    ]


def outdated(there: "Iterable[pa.Table]", made: "Sequence[pa.Table]", *, replace: bool) -> list[str]:
    """The ids of passages that go when documents are added in the place of those with the same ids.

    Raises:
        DataError: Documents are there already, and ``replace`` is off.
    """
    old = of_parents(there, documents_in(made))
    if old and not replace:
        name = document_of(old[0])
        raise DataError(
            f"the id {name[:80]!r} is in the index already; leave it out, or let it be replaced "
            "(statim index update)"
        )
    new = {name for table in made for name in table.column("id").to_pylist()}
    return [name for name in old if name not in new]


def best_passages(find: Callable[[int], list[list[Found]]], k: int) -> list[list[tuple[int, Found]]]:
    """The best passage of each document for some queries, with the document's rank; k documents at most.

    Args:
        find: Gives the hits of each query among passages, at most as many as asked.
        k: Documents wanted.
    """
    depth = k * MORE
    while True:
        found = find(depth)
        best: list[dict[str, Found]] = []
        for hits in found:
            own: dict[str, Found] = {}
            for hit in hits:
                own.setdefault(hit.metadata[PARENT], hit)
            best.append(own)
        if all(len(own) >= k or len(hits) < depth for own, hits in zip(best, found, strict=True)):
            return [list(enumerate(list(own.values())[:k], 1)) for own in best]
        depth *= MORE


class Lengths:
    """Counts documents that are long, on their way into an index as one vector each."""

    def __init__(self) -> None:
        self._count = self._long = self._longest = 0

    def seen(self, documents: "Iterable[pa.Table]") -> "Iterator[pa.Table]":
        """The same documents."""
        import pyarrow.compute as pc

        for table in documents:
            lengths = pc.utf8_length(table.column("text"))
            self._count += len(table)
            self._long += pc.sum(pc.greater(lengths, LONG)).as_py() or 0
            self._longest = max(self._longest, pc.max(lengths).as_py() or 0)
            yield table

    def warn(self) -> None:
        """Log how many are long, where some are."""
        if self._long:
            log.warning(
                "%s of %s documents have more than %s characters, the longest %s; one vector hardly "
                "stands for so much: index their passages (--passages)",
                f"{self._long:,}", f"{self._count:,}", f"{LONG:,}", f"{self._longest:,}",
            )  # fmt: skip


def snippet(text: str, marker: Marker, width: int = SNIPPET) -> str:
    """The part of a passage in which words of a query first occur, these between asterisks."""
    line = " ".join(text.split())
    marks = marker.marks(line)
    start, first = 0, marks[0] if marks else (0, 0)
    if first[1] >= width:
        wanted = max(0, first[0] - width // 4)
        space = line.rfind(" ", max(0, first[0] - width // 2), wanted)
        start = space + 1 if space >= 0 else wanted
    least = max(start + 1, first[1])
    end = len(line) if len(line) - start <= width else line.rfind(" ", least, start + width)
    end = end if end >= least else max(least, start + width)
    shown, at = "", start
    for begin, stop in marks:
        if begin >= start and stop <= end:
            shown += f"{line[at:begin]}*{line[begin:stop]}*"
            at = stop
    return ("… " if start else "") + shown + line[at:end] + (" …" if end < len(line) else "")
