"""statim mine: pairs in, pairs with hard negatives out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from statim.cli import from_record, options
from statim.cli.from_record import SEVERAL, TEXT, Text
from statim.counted import counted
from statim.errors import InputError
from statim.models import ENGLISH


def _margin(given: str | None) -> float | None:
    """``0.05`` or ``none``."""
    if given is None:
        from statim.mining.options import MiningOptions

        return MiningOptions.relative_margin
    if given.lower() == "none":
        return None
    try:
        return float(given)
    except ValueError:
        raise typer.BadParameter(
            f"--relative-margin is {given!r}; give a number like 0.05, or none"
        ) from None


WRITTEN = {
    "corpus": Text(SEVERAL),
    "cross_encoder": TEXT,
    "relative_margin": Text(str | None, _margin),
    "num_negatives": Text(int, short="-n"),
    "include_positives": Text(bool),
    "output_scores": Text(bool),
}
By = Annotated[
    str | None,
    typer.Option(help="The model that finds negatives: folder, word vectors, or hub name (default english)."),
]
Teacher = Annotated[
    str | None, typer.Option(help="Instead of a model: a sentence transformer (path or hub name).")
]


def mine(
    sources: list[str],
    out: Path,
    model: str | None,
    teacher: str | None,
    overwrite: bool,
    json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Find hard negatives: texts that are close to anchors and do not belong to them."""
    progress = options.begin(quiet or json)
    if model is not None and teacher is not None:
        raise InputError("both --model and --teacher are given; name one of them to find negatives")
    from statim.data.files.writing import check_table_output, write_table
    from statim.mining.mine import mine_hard_negatives
    from statim.teacher.teacher import Teacher

    check_table_output(out, overwrite=overwrite)
    values = from_record.values(given, WRITTEN)
    if values["corpus"]:
        import pyarrow as pa

        from statim.data.documents.texts import read_texts

        given_corpus = options.read_as(values["corpus"], values["delimiter"], values["encoding"])
        values["corpus"] = pa.concat_arrays(list(read_texts(given_corpus, values["corpus_column"])))
    mined = mine_hard_negatives(
        options.one_or_several(sources),
        (model or ENGLISH) if teacher is None else Teacher.load(teacher),
        **values,
        progress=progress,
    )
    write_table(out, mined.table)
    options.result(
        mined.to_dict() | {"out": str(out)},
        f"{mined.report}\n\n{counted(len(mined), 'rows')}, written to {out}",
        json,
    )


def add_options() -> None:
    """Give the verb its options."""
    from statim.mining.options import PANELS, MiningOptions

    from_record.show(
        mine,
        [
            from_record.parameter("sources", options.Pairs, from_record.REQUIRED),
            from_record.parameter("out", options.Rows, from_record.REQUIRED),
            from_record.parameter("model", By),
            from_record.parameter("teacher", Teacher),
            from_record.parameter("overwrite", options.Overwrite, False),
            *from_record.parameters(MiningOptions, PANELS, WRITTEN),
        ],
    )


from_record.show(mine, [])
