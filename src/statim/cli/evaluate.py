"""statim evaluate: how good is a model, beside others?"""

from typing import Annotated

import typer

from statim.cli import options


def evaluate(
    model: Annotated[
        str, typer.Argument(help="A model: folder, word vectors, or hub name; also a sentence transformer.")
    ],
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="SETS...",
            help="BEIR folders; files with text1,text2,score or text1,text2,label; NAME_train and "
            "NAME_test files with text,label; "
            "or folders of these.",
        ),
    ],
    against: Annotated[list[str] | None, typer.Option(help="Another model, or bm25 (repeatable).")] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="What the files are: sts, pairs, classification, clustering or retrieval; guessed by "
            "default."
        ),
    ] = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a model on labelled sets."""
    progress = options.begin(quiet or json)
    from statim.evaluation import evaluate as run

    report = run(
        model,
        options.read_as(paths, delimiter, encoding),
        against=against or (),
        task=task,
        progress=progress,
    )
    options.result(report.to_dict(), str(report), json)
