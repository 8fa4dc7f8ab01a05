"""statim classify: fit a head to texts with labels, tell the labels of others, judge."""

import contextlib
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from statim.cli import model_first, options, terminal
from statim.counted import counted
from statim.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

app = typer.Typer(help="Tell the labels of texts: fit, predict, evaluate.", no_args_is_help=True)

Label = Annotated[str | None, typer.Option(help="The column of labels; guessed by default.")]
Separator = Annotated[
    str | None,
    typer.Option(
        help="Where texts have several labels: what is between them, in files without lists; | by default."
    ),
]


@app.command("fit")
def fit(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] EXAMPLES",
            help="EXAMPLES is a file of texts with labels (.jsonl, .csv, .tsv, .parquet, .arrow). "
            f"{model_first.COUNTED}",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write the head into.")],
    model: model_first.Option = None,
    head: Annotated[
        str,
        typer.Option(
            help="logistic (regression), ridge, centroid (for a handful of examples) or neighbours."
        ),
    ] = "logistic",
    several: Annotated[
        bool,
        typer.Option(
            "--several", help="Texts have any number of labels: lists, or texts cut at --separator."
        ),
    ] = False,
    ngrams: Annotated[
        bool,
        typer.Option(
            "--ngrams/--no-ngrams",
            help="Logistic regression sees tokens and pairs of tokens beside the vectors.",
        ),
    ] = True,
    development: Annotated[
        str | None,
        typer.Option(
            help="A file of examples to choose the strength and calibrate probabilities on; by default "
            "a part of EXAMPLES."
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            help="Logistic regression's C, ridge's alpha, or how many neighbours; by default chosen on "
            "examples held out."
        ),
    ] = None,
    text: options.Column = None,
    label: Label = None,
    separator: Separator = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides the parts.")] = 0,
    overwrite: options.Overwrite = False,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fit a head to texts with labels."""
    progress = options.begin(quiet or json)
    model, (examples,) = model_first.split_arguments(arguments, model, "EXAMPLES")
    from statim.files import check_output
    from statim.model import StaticModel
    from statim.tasks.classify.classify import Classifier

    check_output(out, overwrite=overwrite)
    classifier = Classifier.fit(
        StaticModel.load(model), options.read_as(examples, delimiter, encoding), head=head, several=several,
        strength=strength,
        development=options.read_as(development, delimiter, encoding) if development else None,
        ngrams=ngrams, text=text, label=label, separator=separator, seed=seed, threads=threads,
        progress=progress,
    )  # fmt: skip
    classifier.save(out, overwrite=overwrite)
    fitted = classifier.fitted
    figures = {
        "out": str(out),
        "head": head,
        "labels": len(classifier.labels),
        "strength": fitted.strength,
        "judged_on": fitted.heldout,
        "log_loss": fitted.tried.get(fitted.strength),
        "calibrated": fitted.calibration.fitted,
    }
    told = f"{head} of {counted(len(classifier.labels), 'labels')}, strength {fitted.strength:g}"
    if fitted.tried:
        told += f", log loss {fitted.tried[fitted.strength]:.4f} on {fitted.heldout}"
    else:
        told += "; too few examples to choose it or to calibrate probabilities"
    options.result(figures, f"{told}; written to {out}", json)


@app.command("predict")
def predict(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] HEAD [TEXTS...]",
            help="HEAD is the folder of a fitted head; TEXTS are files (see statim encode), by default the "
            f"standard input. {model_first.GUESSED}",
        ),
    ],
    model: model_first.Option = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="A .parquet, .jsonl or .csv file; by default JSON lines on the standard output.",
        ),
    ] = None,
    column: options.Column = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    top: Annotated[int, typer.Option(help="Write the N most likely labels with their probabilities.")] = 1,
    overwrite: options.Overwrite = False,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
) -> None:
    """Tell the labels of texts."""
    progress = options.begin(quiet)
    if top < 1:
        raise InputError(f"--top is {top}; it must be a whole number of at least 1")
    model, (head, *sources) = model_first.split_arguments(arguments, model, "HEAD", more=True)
    from statim.data.documents.texts import STDIN, read_rows
    from statim.data.files import unify
    from statim.data.files.writing import check_table_output
    from statim.model import StaticModel
    from statim.tasks.classify.answers import described
    from statim.tasks.classify.classify import Classifier

    if out is not None:
        check_table_output(out, overwrite=overwrite)
    classifier = Classifier.load(head, StaticModel.load(model))
    given = options.read_as(sources or [STDIN], delimiter, encoding)

    def written(schema: "pa.Schema | None" = None) -> int:
        rows = read_rows(given, column)
        return _write(described(classifier, rows, top, schema, threads=threads), out, progress)

    try:
        count = written()
    except unify.MisfitError as error:
        if not sources or STDIN in sources:
            raise
        options.note(f"{error}; reading the texts once more, with columns that all of them fit", quiet)
        count = written(unify.settled(lambda: read_rows(given, column)))
    if out is not None:
        options.note(f"{counted(count, 'texts')}, written to {out}", quiet)


def _write(tables: "Iterator[pa.Table]", out: Path | None, progress: bool) -> int:
    """Write answers to a file, or print them; gives how many there are."""
    from statim.data.files.writing import table_writer, write_lines
    from statim.progress import Progress
    from statim.threads import ahead

    first = next(tables)
    printed, count = terminal.output(), 0
    with Progress("classify", total=None, unit="texts", show=progress and out is not None) as bar:
        writing: Any = (
            table_writer(out, first.schema)
            if out is not None
            else contextlib.nullcontext(lambda table: write_lines(printed, table))
        )
        blocks = ahead(itertools.chain([first], tables))
        with contextlib.closing(blocks), writing as write:
            for table in blocks:
                write(table)
                count += len(table)
                bar.advance(len(table))
    sys.stdout.flush()
    return count


@app.command("evaluate")
def evaluate(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] HEAD EXAMPLES",
            help="HEAD is the folder of a fitted head; EXAMPLES is a file of texts with labels that it was "
            f"not fitted to. {model_first.COUNTED}",
        ),
    ],
    model: model_first.Option = None,
    text: options.Column = None,
    label: Label = None,
    separator: Separator = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a head on texts with labels."""
    progress = options.begin(quiet or json)
    model, (head, examples) = model_first.split_arguments(arguments, model, "HEAD", "EXAMPLES")
    from statim.model import StaticModel
    from statim.tasks.classify.classify import Classifier

    classifier = Classifier.load(head, StaticModel.load(model))
    judged = classifier.evaluate(
        options.read_as(examples, delimiter, encoding),
        text=text,
        label=label,
        separator=separator,
        threads=threads,
        progress=progress,
    )
    options.result(judged.to_dict(), str(judged), json)
