"""statim teach: a teacher adapted to one's own pairs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from statim.cli import from_record, options
from statim.cli.from_record import SEVERAL, Text

WRITTEN = {
    "negative": Text(SEVERAL),
    "heldout": Text(str | None, options.count_or_file),
    "distil": Text(Path | None),
    "resume": Text(bool),
    "overwrite": Text(bool),
}
Out = Annotated[Path, typer.Option("--out", "-o", help="The folder to save the sentence transformer into.")]
Teacher = Annotated[str, typer.Option(help="The sentence transformer to begin with (path or hub name).")]


def teach(sources: list[str], out: Path, teacher: str, json: bool, quiet: bool, **given: Any) -> None:
    """Fine-tune a sentence transformer on pairs with mined negatives, to start a static model from."""
    progress = options.begin(quiet or json)
    from statim.training.teach import teach as run

    values = from_record.values(given, WRITTEN)
    result = run(options.one_or_several(sources), teacher, out=out, **values, progress=progress)
    options.result(result.to_dict(), f"{result}\nsaved to {out}", json)


def add_options() -> None:
    """Give the verb its options."""
    from statim.training.teach_options import PANELS, TeachOptions

    from_record.show(
        teach,
        [
            from_record.parameter("sources", options.Pairs, from_record.REQUIRED),
            from_record.parameter("out", Out, from_record.REQUIRED),
            from_record.parameter("teacher", Teacher, "all-MiniLM-L6-v2"),
            *from_record.parameters(TeachOptions, PANELS, WRITTEN),
        ],
    )


from_record.show(teach, [])
