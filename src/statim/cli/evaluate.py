"""statim evaluate: how good is a model, beside others?"""

from typing import Annotated

import typer

from statim.cli import model_first, options


def evaluate(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] SETS...",
            help="SETS are BEIR folders; files with text1,text2,score or text1,text2,label; NAME_train and "
            "NAME_test files with text,label; or folders of these. "
            f"{model_first.GUESSED} It may be a sentence transformer.",
        ),
    ],
    model: model_first.Option = None,
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
    model, paths = model_first.split_arguments(arguments, model, "SETS", more=True)
    from statim.evaluation import evaluate as run

    report = run(
        model,
        options.read_as(paths, delimiter, encoding),
        against=against or (),
        task=task,
        progress=progress,
    )
    options.result(report.to_dict(), str(report), json)
