"""statim update: a model trained on with new pairs, without forgetting the old ones."""

from pathlib import Path
from typing import Annotated, Any

import typer

from statim.cli import from_record, model_first, options
from statim.cli.from_record import SEVERAL, Text

WRITTEN = {
    "replay": Text(SEVERAL, options.one_or_several, "PAIRS"),
    "index": Text(Path | None),
    "heldout": Text(str | None, options.count_or_file),
    "old_heldout": Text(Path | None),
    "negative": Text(SEVERAL),
    "resume": Text(bool),
    "overwrite": Text(bool),
}
Arguments = Annotated[
    list[str],
    typer.Argument(
        metavar="[MODEL] NEW...",
        help="NEW are files of pairs or documents, as for statim train. " + model_first.GUESSED,
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="The folder to save the updated model into.")]


def update(arguments: list[str], model: str | None, out: Path, json: bool, quiet: bool, **given: Any) -> None:
    """Train a model on with new pairs without forgetting the old ones; re-encode its index in place."""
    progress = options.begin(quiet or json)
    model, new = model_first.split_arguments(arguments, model, "NEW", more=True)
    from statim.training.update import update as run

    values = from_record.values(given, WRITTEN)
    found = run(model, options.one_or_several(new), out=out, **values, progress=progress)
    options.result(found.to_dict() | {"out": str(out)}, f"{found}\nsaved to {out}", json)


def add_options() -> None:
    """Give the verb its options."""
    from statim.training.update_options import PANELS, UpdateOptions

    from_record.show(
        update,
        [
            from_record.parameter("arguments", Arguments, from_record.REQUIRED),
            from_record.parameter("out", Out, from_record.REQUIRED),
            from_record.parameter("model", model_first.Option),
            *from_record.parameters(UpdateOptions, PANELS, WRITTEN),
        ],
    )


from_record.show(update, [])
