"""Retrieval sets: queries, documents and relevance judgements, from pairs or a BEIR folder."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from statim.counted import counted
from statim.data.files import columns, tables
from statim.data.pairs.pairs import Pairs
from statim.errors import DataError

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")


@dataclass(frozen=True, eq=False)
class RetrievalSet:
    """m queries, n documents and k judgements.

    Attributes:
        query_ids: m ids, all different.
        queries: m texts. Each query has at least one relevant document.
        document_ids: n ids, all different.
        documents: n texts; the title, where there is one, stands before the text.
        judged_queries: (k,) int64, the position of each judgement's query, ascending.
        judged_documents: (k,) int64, the position of its document.
        grades: (k,) int32, how relevant the document is to the query; 0 or less is not at all.
        name: For tables and messages.
        dropped: Judgements that were left out since their query or document does not exist.
    """

    query_ids: pa.LargeStringArray
    queries: pa.LargeStringArray
    document_ids: pa.LargeStringArray
    documents: pa.LargeStringArray
    judged_queries: npt.NDArray[np.int64]
    judged_documents: npt.NDArray[np.int64]
    grades: npt.NDArray[np.int32]
    name: str = ""
    dropped: int = 0

    def __repr__(self) -> str:
        return (
            f"RetrievalSet({counted(len(self.queries), 'queries')}, "
            f"{counted(len(self.documents), 'documents')}, "
            f"{len(self.grades):,} judgements)"
        )

    @functools.cached_property
    def qrels(self) -> dict[str, dict[str, int]]:
        """The judgements as trec_eval takes them: query id -> document id -> grade."""
        queries, documents = self.query_ids.to_pylist(), self.document_ids.to_pylist()
        judgements: dict[str, dict[str, int]] = {}
        for query, document, grade in zip(
            self.judged_queries, self.judged_documents, self.grades.tolist(), strict=True
        ):
            judgements.setdefault(queries[query], {})[documents[document]] = grade
        return judgements


def from_pairs(pairs: Pairs, *, name: str = "") -> RetrievalSet:
    """The retrieval task in pairs: find an anchor's positives among all positives and negatives.

    Every different anchor is a query and every different positive or negative a document, in the order of
    their first occurrence (``q0``, ``d0`` …); all positives of an anchor are relevant to it.

    Examples:
        >>> task = from_pairs(read_pairs([("sort a list", "list.sort"), ("open a file", "open(path)")]))
        >>> task.queries.to_pylist(), task.documents.to_pylist()
        (['sort a list', 'open a file'], ['list.sort', 'open(path)'])
    """
    queries = pairs.anchors.dictionary_encode()
    documents = pa.concat_arrays(
        [pairs.positives, *(column.drop_null() for column in pairs.negatives)]
    ).dictionary_encode()
    count = len(documents.dictionary)
    keys = (
        np.asarray(queries.indices, np.int64) * count + np.asarray(documents.indices, np.int64)[: len(pairs)]
    )
    judged_queries, judged_documents = np.divmod(np.unique(keys), count)
    return RetrievalSet(
        _numbered("q", len(queries.dictionary)),
        queries.dictionary,
        _numbered("d", count),
        documents.dictionary,
        judged_queries,
        judged_documents,
        np.ones(len(judged_queries), np.int32),
        name,
    )


def _numbered(letter: str, count: int) -> pa.LargeStringArray:
    return pa.array([f"{letter}{index}" for index in range(count)], pa.large_string())


def read_beir(folder: str | Path, split: str = "test") -> RetrievalSet:
    """Read a folder in BEIR's layout: ``corpus.jsonl``, ``queries.jsonl`` (or .gz), ``qrels/<split>.tsv``.

    Queries that have no relevant document in the split are left out, as BEIR does.

    Raises:
        DataError: A part is missing or malformed (the message names it), ids repeat, or no query has a
            relevant document.

    Examples:
        >>> task = read_beir("scifact")
        >>> task.queries.to_pylist()
        ['sort a list']
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            f"{folder} is no folder; a BEIR folder holds corpus.jsonl, queries.jsonl and qrels/{split}.tsv"
        )
    document_ids, documents = _texts(_part(folder, "corpus", SUFFIXES))
    query_ids, queries = _texts(_part(folder, "queries", SUFFIXES))
    path = _part(folder, f"qrels/{split}", (".tsv", ".tsv.gz", ".tsv.zst"))
    query_names, document_names, grades = _judgements(path)
    judged_queries = _positions(query_names, query_ids)
    judged_documents = _positions(document_names, document_ids)
    exists = (judged_queries >= 0) & (judged_documents >= 0)
    relevant = np.unique(judged_queries[exists & (grades > 0)])
    if len(relevant) == 0:
        raise DataError(
            f"{path} calls no document of the corpus relevant to a query; are its ids those of {folder}?"
        )
    kept = exists & np.isin(judged_queries, relevant)
    places = np.searchsorted(relevant, judged_queries[kept])
    order = np.lexsort((judged_documents[kept], places))
    chosen = pa.array(relevant)
    return RetrievalSet(
        query_ids.take(chosen),
        queries.take(chosen),
        document_ids,
        documents,
        places[order],
        judged_documents[kept][order],
        grades[kept][order],
        folder.resolve().name,
        int(np.sum(~exists)),
    )


def _part(folder: Path, stem: str, suffixes: tuple[str, ...]) -> Path:
    for suffix in suffixes:
        if (folder / f"{stem}{suffix}").exists():
            return folder / f"{stem}{suffix}"
    there = ""
    if stem.startswith("qrels/") and (folder / "qrels").is_dir():
        there = f"; there are {columns.listed(sorted(path.name for path in (folder / 'qrels').iterdir()))}"
    raise DataError(f"{folder / f'{stem}{suffixes[0]}'} is missing; a BEIR folder needs it{there}")


def _texts(path: Path) -> tuple[pa.LargeStringArray, pa.LargeStringArray]:
    """Ids, and titles joined with texts."""
    table, where = tables.read_table(path), str(path)
    ids = unique_ids(table, columns.pick(table.column_names, "id", None, columns.IDS, where), where)
    texts = columns.texts(
        table, columns.pick(table.column_names, "text", None, columns.TEXT, where), where
    ).fill_null("")
    title = columns.usual(table.column_names, ["title"])
    return ids, texts if title is None else with_title(columns.texts(table, title, where), texts)


def with_title(titles: pa.LargeStringArray, texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """Titles, a space, and texts; where one of them is empty the other alone."""
    joined = pc.binary_join_element_wise(
        titles.fill_null(""), texts.fill_null(""), pa.scalar(" ", pa.large_string())
    )
    return pc.utf8_trim_whitespace(joined)


def unique_ids(table: pa.Table, name: str, where: str) -> pa.LargeStringArray:
    """A column of ids as text.

    Raises:
        DataError: One is missing or occurs twice; the message names its row.
    """
    ids = columns.texts(table, name, where, any_type=True)
    if ids.null_count:
        row = int(np.argmax(np.asarray(ids.is_null()))) + 1
        raise DataError(
            f"{where}, row {row}: the column {name!r} has no id there; every row needs one of its own"
        )
    codes = np.asarray(ids.dictionary_encode().indices, np.int64)
    _, firsts = np.unique(codes, return_index=True)
    if len(firsts) < len(codes):
        row = int(np.setdiff1d(np.arange(len(codes)), firsts)[0])
        first = int(np.argmax(codes == codes[row]))
        raise DataError(
            f"{where}, row {row + 1}: the id {ids[row].as_py()[:60]!r} stands in row {first + 1} "
            "already; ids must differ"
        )
    return ids


def _judgements(path: Path) -> tuple[pa.LargeStringArray, pa.LargeStringArray, npt.NDArray[np.int32]]:
    table = tables.read_table(path)
    if table.num_columns != 3:
        raise DataError(
            f"{path} has {table.num_columns} columns; it must have 3, with tabs between: query-id, "
            "corpus-id, score"
        )
    if _is_int(table.column_names[2]):  # no header: the first line is a judgement too
        first = pa.table(
            [pa.array([name], pa.large_string()) for name in table.column_names], names=["q", "d", "s"]
        )
        table = pa.concat_tables([first, table.rename_columns(["q", "d", "s"])])
    queries, documents, scores = (columns.flat(column) for column in table.columns)
    try:
        return queries, documents, np.array([int(score) for score in scores.to_pylist()], np.int32)
    except (ValueError, OverflowError):
        row = next(row for row, score in enumerate(scores.to_pylist()) if not _is_int(score))
        raise DataError(
            f"{path}, row {row + 1}: the score is {scores[row].as_py()[:40]!r}, which is not a whole number"
        ) from None


def _is_int(text: str) -> bool:
    return text.strip().lstrip("+-").isdecimal() and abs(int(text)) < 1 << 31


def _positions(names: pa.LargeStringArray, ids: pa.LargeStringArray) -> npt.NDArray[np.int64]:
    """Where each name stands among the ids, -1 if nowhere."""
    return np.asarray(pc.index_in(names, ids).fill_null(-1), np.int64)
