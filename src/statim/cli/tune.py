"""statim index tune: choose how an index is searched, by judged questions."""

from pathlib import Path
from typing import Annotated

import typer

from statim.cli import options


def tune(
    place: Annotated[
        str,
        typer.Argument(
            metavar="INDEX",
            help="An index: a folder, or the address of a database.",
            callback=options.address,
        ),
    ],
    questions: Annotated[
        list[Path],
        typer.Argument(
            metavar="QUESTIONS...",
            help="Files of pairs: a question, and the id or the text of a document that answers it.",
        ),
    ],
    anchor: Annotated[str | None, typer.Option(help="The column of questions; guessed by default.")] = None,
    positive: Annotated[
        str | None, typer.Option(help="The column of documents, ids or texts; guessed by default.")
    ] = None,
    table: options.Table = "documents",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Tune the weight and the default mode of an index by judged questions, and store them in it."""
    options.begin(quiet or json)
    from statim.data.pairs.reading import read_pairs
    from statim.evaluation.search_modes import tune as run
    from statim.search.index import Index

    index = Index.load(place, table=table)
    found = run(index, read_pairs(questions, anchor=anchor, positive=positive), threads=threads)
    options.result({"path": index.info()["path"]} | found.to_dict(), str(found), json)
