"""statim index: build a searchable folder of documents, and look at it."""

import time
from pathlib import Path
from typing import Annotated

import typer

from statim.cli import options

app = typer.Typer(
    help="Build an index of documents, or look at one.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("build")
def build(
    model: Annotated[str, typer.Argument(help="A model: folder, word vectors, or hub name.")],
    documents: Annotated[
        list[str], typer.Argument(metavar="DOCS...", help="Files of documents (see statim encode).")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    identifier: Annotated[
        str | None, typer.Option("--id", help="The column of ids; guessed by default, else row numbers.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="The column of texts; guessed by default.")] = None,
    title: Annotated[
        str | None, typer.Option(help="A column to put before the text; guessed by default.")
    ] = None,
    weight: Annotated[
        float | None, typer.Option(help="The part of the vectors in hybrid search, 0 to 1 (default 0.5).")
    ] = None,
    documents_by: Annotated[
        str | None,
        typer.Option(
            metavar="TEACHER",
            help="Let this sentence transformer make the documents' vectors, for a model of queries alone (statim train --documents-by); "
            "by default the one that such a model remembers.",
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Index documents for vector, BM25 and hybrid search; every other column is kept as metadata."""
    progress = options.begin(quiet or json)
    from statim.data.texts import read_documents
    from statim.files import check_output
    from statim.model import StaticModel
    from statim.search.hybrid import WEIGHT
    from statim.search.index import Index

    check_output(out, overwrite=overwrite)
    started = time.perf_counter()
    table = read_documents(
        documents if len(documents) > 1 else documents[0], id=identifier, text=text, title=title
    )
    index = Index.build(
        StaticModel.load(model), table, out, weight=WEIGHT if weight is None else weight,
        documents_by=documents_by, threads=threads, progress=progress, overwrite=overwrite,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    figures = index.info() | {"seconds": round(seconds, 3)}
    options.result(figures, f"{len(index):,} documents indexed in {seconds:.1f} s, written to {out}", json)


@app.command("info")
def info(path: Annotated[Path, typer.Argument(help="An index.")], json: options.Json = False) -> None:
    """What an index holds."""
    from statim.search.index import Index

    found = Index.load(path).info()
    options.result(found, "\n".join(f"{name:14} {value}" for name, value in found.items()), json)
