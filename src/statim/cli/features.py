"""statim features: a table in, the same table with a column of vectors out."""

import itertools
from typing import TYPE_CHECKING, Annotated

import typer

from statim.cli import options
from statim.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


def features(
    model: options.Model,
    source: Annotated[str, typer.Argument(help="A table (.jsonl, .csv, .tsv, .parquet, .arrow).")],
    out: options.Rows,
    column: options.Column = None,
    name: Annotated[
        str, typer.Option(help="What the column of vectors is called; one of that name is replaced.")
    ] = "vector",
    dim: options.Dim = None,
    overwrite: options.Overwrite = False,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
) -> None:
    """Put a column of vectors beside the columns of a table."""
    progress = options.begin(quiet)
    from statim.data.writing import check_table_output, table_writer
    from statim.model import StaticModel
    from statim.progress import Progress
    from statim.tasks.features import with_vectors

    check_table_output(out, overwrite=overwrite)
    parts = with_vectors(StaticModel.load(model), source, column, name=name, threads=threads, dim=dim)
    first = next(parts, None)
    if first is None:
        raise DataError(f"{source} has no rows")
    count = 0
    with (
        Progress("features", total=None, unit="rows", show=progress) as bar,
        table_writer(out, first.schema) as write,
    ):
        for part in itertools.chain([first], parts):
            write(_like(part, first.schema, source))
            count += len(part)
            bar.advance(len(part))
    options.note(f"{count:,} rows, written to {out}", quiet)


def _like(table: "pa.Table", schema: "pa.Schema", source: str) -> "pa.Table":
    """A table with the columns of the first; JSON lines may have others further down."""
    import pyarrow as pa

    if table.schema == schema:
        return table
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, KeyError) as error:
        raise DataError(
            f"{source}: the columns are not the same all the way down ({str(error)[:120]}); give it as Parquet, or with equal columns"
        ) from None
