"""What a model was trained on, as ``training.json`` in its folder says: which data, and how they are read."""

from pathlib import Path
from typing import Any

from statim.data.detect_task import Supervision, read_supervision
from statim.data.files.text_file import read_as
from statim.errors import DataError
from statim.files import read_json, write_json
from statim.training.run.record import Run

RECORD = "training.json"
COLUMNS = ("anchor", "positive", "negative", "score", "label")
READ = ("data", *COLUMNS, "delimiter", "encoding")


def write(folder: Path, run: Run) -> None:
    """Write down the data of a run into its model's folder; nothing where they were in memory."""
    if run.options.get("data") is not None:
        write_json(folder / RECORD, {name: run.options.get(name) for name in READ})


def read(folder: Path) -> Supervision:
    """The data that the model in a folder was trained on, those held out too.

    Raises:
        DataError: The folder does not say, or the data are not there any more.
    """
    if not (folder / RECORD).is_file():
        raise DataError(
            f"{folder} is the folder of a model that does not say what it was trained on ({RECORD} is "
            "missing there); name the old texts"
        )
    told: Any = read_json(folder / RECORD)
    if not isinstance(told, dict) or not told.keys() >= {*READ}:
        raise DataError(f"{folder / RECORD} is damaged; name the old texts")
    try:
        data = read_as(told["data"], told["delimiter"], told["encoding"])
        return read_supervision(data, **{name: told[name] for name in COLUMNS})
    except DataError as error:
        raise DataError(f"what the model in {folder} was trained on cannot be read: {error}") from None
