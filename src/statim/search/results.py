"""Answers to many queries, as a file: JSON lines, Parquet, a table of text, or a run that trec_eval reads."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from statim.errors import DataError, InputError
from statim.search.lexical.analyzer import Analyzer
from statim.search.marks import Marker
from statim.search.passages import NUMBER, PARENT, snippet
from statim.strict_json import dumps

if TYPE_CHECKING:
    import pyarrow as pa

    from statim.search.index import Hit

FORMATS = ("json", "table", "csv", "parquet", "trec")
SUFFIXES = {
    ".jsonl": "json",
    ".json": "json",
    ".tsv": "table",
    ".csv": "csv",
    ".parquet": "parquet",
    ".trec": "trec",
    ".run": "trec",
}
DELIMITERS = {"table": "\t", "csv": ","}
RUN = "statim"  # the name of a run

Answers = Iterable[tuple[str, str, "list[Hit]"]]  # a query's id, the query, its hits


def format_of(path: Path | None, given: str | None) -> str:
    """The format that is asked for, or that a file's name tells.

    Raises:
        InputError: It is none of FORMATS, or the name tells none; or Parquet would go to the standard output.
    """
    if given is not None and given not in FORMATS:
        raise InputError(f"format is {given!r}; it must be one of {', '.join(FORMATS)}")
    found = given or (SUFFIXES.get(path.suffix) if path else "table")
    if found is None:
        raise InputError(
            f"{path} ends with nothing that tells a format; end it with {', '.join(SUFFIXES)}, or give "
            "--format"
        )
    if found == "parquet" and path is None:
        raise InputError("Parquet goes into a file; name one with --out results.parquet")
    return found


class Writer:
    """Writes answers, some at a time.

    Args:
        file: Open for writing bytes.
        kind: One of FORMATS.
        schema: The columns of the documents.
        analyzer: That of the index, for snippets of passages; by default one of no language.
    """

    def __init__(
        self, file: IO[bytes], kind: str, schema: "pa.Schema", analyzer: Analyzer | None = None
    ) -> None:
        self._file, self._kind, self._analyzer = file, kind, analyzer or Analyzer()
        self._others = [field for field in schema if field.name not in ("id", "text", PARENT)]
        self._parquet: Any = None
        self._names = _free(self._others)
        if kind in DELIMITERS:
            self._line(["query", "rank", "score", "id", "text", *(name for name, _, _ in self._names)])
        elif kind == "parquet":
            self._begin_parquet()

    def write(self, answers: Answers) -> None:
        """Append the hits of some queries.

        Raises:
            DataError: An id has a space in it, which a run cannot hold.
        """
        some = list(answers)
        if self._kind == "parquet":
            self._write_parquet(some)
        for name, query, hits in some:
            if self._kind == "json":
                self._file.write((as_json(query, hits, name, self._analyzer) + "\n").encode())
            for hit in hits:
                if self._kind in DELIMITERS:
                    others = [_cell(hit.metadata[key]) for _, key, _ in self._names]
                    self._line([name, hit.rank, round(hit.score, 6), hit.id, hit.text, *others])
                elif self._kind == "trec":
                    self._run(name, hit)

    def finish(self) -> None:
        """Make the file whole."""
        if self._parquet is not None:
            self._parquet.close()

    def _line(self, cells: Sequence[str | float | None]) -> None:
        # every text between quotes: bare, an empty one is missing to some readers, and a lone "\r" a line's
        # end
        line = io.StringIO()
        delimiter = DELIMITERS[self._kind]
        csv.writer(line, delimiter=delimiter, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerow(
            cells
        )
        self._file.write(line.getvalue().encode())

    def _run(self, name: str, hit: "Hit") -> None:
        for spelt in (name, hit.id):
            if not spelt or spelt.split() != [spelt]:
                raise DataError(
                    f"the id {spelt[:80]!r} is empty or has a space in it, which a TREC run cannot "
                    "hold; use another format"
                )
        self._file.write(f"{name} Q0 {hit.id} {hit.rank} {hit.score!r} {RUN}\n".encode())

    def _begin_parquet(self) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        first = [
            ("query_id", pa.string()),
            ("query", pa.large_string()),
            ("rank", pa.int32()),
            ("score", pa.float64()),
        ]
        last = [(name, kind) for name, _, kind in self._names]
        self._schema = pa.schema([*first, ("id", pa.string()), ("text", pa.large_string()), *last])
        self._parquet = parquet.ParquetWriter(pa.PythonFile(self._file, mode="w"), self._schema)

    def _write_parquet(self, answers: list[tuple[str, str, "list[Hit]"]]) -> None:
        import pyarrow as pa

        flat = [(name, query, hit) for name, query, hits in answers for hit in hits]
        columns: dict[str, list[Any]] = {
            "query_id": [name for name, _, _ in flat],
            "query": [query for _, query, _ in flat],
            **{name: [getattr(hit, name) for _, _, hit in flat] for name in ("rank", "score", "id", "text")},
            **{name: [hit.metadata[key] for _, _, hit in flat] for name, key, _ in self._names},
        }
        self._parquet.write_table(
            pa.table([pa.array(columns[f.name], f.type) for f in self._schema], schema=self._schema)
        )


def _free(fields: "list[pa.Field]") -> "list[tuple[str, str, pa.DataType]]":
    """The names of the documents' other columns beside those of an answer, their own names, their types."""
    taken = {"query_id", "query", "rank", "score", "id", "text"}
    found = []
    for field in fields:
        name = field.name
        while name in taken:
            name += "_"
        taken.add(name)
        found.append((name, field.name, field.type))
    return found


def _cell(value: Any) -> str | float | None:
    """A value of the metadata in a table: lists and mappings as JSON."""
    if value is None or (isinstance(value, (str, int, float)) and not isinstance(value, bool)):
        return value
    return dumps(value).strip('"') if isinstance(value, (bool, list, dict)) else str(value)


def as_json(
    question: str,
    hits: "list[Hit]",
    name: str | None = None,
    analyzer: Analyzer | None = None,
    missing: Iterable[str] = (),
) -> str:
    """One query's hits on one line, those that are passages with a snippet; see Writer.

    Shards that are ``missing`` are named.
    """
    marker = Marker(analyzer or Analyzer(), question)
    found = [
        {
            "rank": hit.rank,
            "score": round(hit.score, 6),
            "id": hit.id,
            "text": hit.text,
            "metadata": hit.metadata,
            **({"snippet": snippet(hit.text, marker)} if NUMBER in hit.metadata else {}),
        }
        for hit in hits
    ]
    told: dict[str, Any] = {"query": question, "hits": found}
    told |= {"missing_shards": list(missing)} if missing else {}
    return dumps(told if name is None else {"query_id": name, **told})
