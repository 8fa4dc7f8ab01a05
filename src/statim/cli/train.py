"""statim train: from pairs of text, texts with labels, or documents to a trained, evaluated, saved model."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from statim.cli import from_record, options
from statim.cli.from_record import SEVERAL, TEXT, Text
from statim.errors import InputError

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PAIRS...",
        help="Files of pairs, of pairs with scores, or of texts with labels (.jsonl, .csv, .tsv, "
        ".parquet, .arrow; text files "
        "also .gz or .zst), a folder of sets (NAME/train.jsonl.gz), a datasets folder, or the word "
        "python-docs: the documentation inside this Python installation. Or "
        "documents without pairs: a folder of text files, a .txt file, or a file with one column of text.",
    ),
]


def _names(text: str | None) -> list[str] | None:
    """``stdlib,numpy`` as a list."""
    return None if text is None else [name for part in text.split(",") if (name := part.strip())]


FILE = Text(Path | None)
FLAG = Text(bool, lambda given: given or None)
WRITTEN = {
    "out": Text(Path | None, short="-o"),
    "resume": FILE,
    "overwrite": Text(bool),
    "start": TEXT,
    "tokenizer": TEXT,
    "anchor": TEXT,
    "positive": TEXT,
    "negative": Text(SEVERAL),
    "packages": Text(str | None, _names),
    "make_pairs": TEXT,
    "set_weights": Text(
        SEVERAL, lambda given: options.weights(given or [], "--weight") or None, "NAME=NUMBER"
    ),
    "set_limits": Text(SEVERAL, lambda given: options.limits(given or [], "--limit") or None, "NAME=COUNT"),
    "prune_vocabulary": FLAG,
    "freeze": Text(Path | None, lambda given: options.lines(given, "--freeze")),
    "matryoshka": Text(str | None, lambda given: options.numbers(given, "--matryoshka")),
    "both_directions": FLAG,
    "row_wise": FLAG,
    "distil": Text(SEVERAL, options.one_or_several, "TEXTS"),
    "teacher": Text(SEVERAL, options.teachers, "NAME[:WEIGHT]"),
    "documents_by": Text(str | None, metavar="TEACHER"),
    "heldout": Text(str | None, options.count_or_file),
    "development": Text(str | None, options.count_or_file),
    "baselines": TEXT,
    "tensorboard": FILE,
}


def train(sources: list[str] | None, json: bool, quiet: bool, **given: Any) -> None:
    """Train a static model on pairs, labelled texts or documents; compare it with BM25 and its teacher."""
    first = os.environ.get("RANK", "0") == "0"  # of several processes, one speaks
    progress = options.begin(quiet or json or not first)
    out, resume = given["out"], given["resume"]
    if given.pop("no_baselines"):
        given["baselines"] = given["baselines"] or "none"
    if not sources and not given["distil"] and resume is None:
        raise InputError(
            "no pairs were given; name a file of pairs, or python-docs (statim train PAIRS --out DIR)"
        )
    if resume is not None and out is not None and out != resume:
        raise InputError(
            f"--out is {out} and --resume is {resume}; a resumed training writes to the folder it began with"
        )
    if out is None and resume is None:
        raise InputError("no output was given; name a folder for the model (--out DIR)")
    from statim.training.train import train as run

    values = from_record.values(given, WRITTEN)
    values |= {"out": resume or out, "resume": resume is not None, "progress": progress}
    result = run(options.one_or_several(sources), **values)
    if first:
        options.result(
            result.to_dict() | {"out": str(resume or out)}, f"{result}\nsaved to {resume or out}", json
        )


def add_options() -> None:
    """Give the verb its options."""
    from statim.training.options import PANELS, TrainOptions

    from_record.show(
        train,
        [
            from_record.parameter("sources", Sources),
            from_record.parameter(
                "no_baselines", Annotated[bool, typer.Option("--no-baselines", hidden=True)], False
            ),
            *from_record.parameters(TrainOptions, PANELS, WRITTEN),
        ],
    )


from_record.show(train, [])
