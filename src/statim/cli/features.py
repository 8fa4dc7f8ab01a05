"""statim features: a table in, the same table with a column of vectors out."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from statim.cli import model_first, options
from statim.counted import counted

if TYPE_CHECKING:
    import pyarrow as pa

    from statim.data.files.bad_rows import BadRows


def features(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] TABLE",
            help=f"TABLE is a .jsonl, .csv, .tsv, .parquet or .arrow file. {model_first.COUNTED}",
        ),
    ],
    out: options.Rows,
    model: model_first.Option = None,
    column: options.Column = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    name: Annotated[
        str, typer.Option(help="What the column of vectors is called; one of that name is replaced.")
    ] = "vector",
    dim: options.Dim = None,
    skip_bad: options.SkipBad = None,
    overwrite: options.Overwrite = False,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
) -> None:
    """Put a column of vectors beside the columns of a table."""
    progress = options.begin(quiet)
    model, (source,) = model_first.split_arguments(arguments, model, "TABLE")
    from statim.data.files import tables, unify
    from statim.data.files.writing import check_table_output
    from statim.model import StaticModel
    from statim.tasks.features import with_vectors

    check_table_output(out, overwrite=overwrite)
    source = options.read_as(source, delimiter, encoding)
    loaded = StaticModel.load(model)
    ways: dict[str, Any] = {"name": name, "threads": threads, "dim": dim}
    with options.skipping(skip_bad, overwrite=overwrite) as bad:

        def written(schema: "pa.Schema | None" = None) -> int:
            parts = with_vectors(loaded, source, column, schema=schema, skip_bad=bad, **ways)
            return _write(out, parts, source, bad, progress)

        try:
            count = written()
        except unify.MisfitError as error:
            options.note(f"{source}, {error}; reading it once more, with columns that all rows fit", quiet)
            count = written(unify.settled(lambda: tables.tables(source, bad)))
    options.note(f"{counted(count, 'rows')}, written to {out}{options.skipped(bad, skip_bad)[1]}", quiet)


def _write(out: Path, parts: "Iterator[pa.Table]", source: str, bad: "BadRows", progress: bool) -> int:
    """Write tables of the same columns; gives the number of rows."""
    from statim.data.documents.texts import no_rows
    from statim.data.files.writing import table_writer
    from statim.progress import Progress

    first = next(parts, None)
    if first is None:
        raise no_rows(source, bad.count)
    count = 0
    with (
        Progress("features", total=None, unit="rows", show=progress) as bar,
        table_writer(out, first.schema) as write,
    ):
        for part in itertools.chain([first], parts):
            write(part)
            count += len(part)
            bar.advance(len(part))
    return count
