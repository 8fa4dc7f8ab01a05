"""statim features: a table in, the same table with a column of vectors out."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from statim.cli import options


def features(
    model: Annotated[str, typer.Argument(help="A model: folder, word vectors, or hub name.")],
    source: Annotated[str, typer.Argument(help="A table (.jsonl, .csv, .tsv, .parquet, .arrow).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .parquet or .jsonl file to write.")],
    column: Annotated[str | None, typer.Option(help="The column of texts; guessed by default.")] = None,
    name: Annotated[str, typer.Option(help="What the column of vectors is called.")] = "vector",
    dim: Annotated[int | None, typer.Option(help="Keep only the first dimensions.")] = None,
    overwrite: options.Overwrite = False,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
) -> None:
    """Put a column of vectors beside the columns of a table."""
    progress = options.begin(quiet)
    from statim.data.writing import check_table_output, table_writer
    from statim.errors import DataError
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
        contextlib.closing(parts),
        table_writer(out, first.schema) as write,
    ):
        part = first
        while part is not None:
            write(part.cast(first.schema) if part.schema != first.schema else part)
            count += len(part)
            bar.advance(len(part))
            part = next(parts, None)
    options.note(f"{count:,} rows, written to {out}", quiet)
