"""Models that come with the package, by name; each is a folder here, with a card."""

from pathlib import Path

from statim.errors import ModelError

ENGLISH = "english"  # what every verb takes that needs a model and is given none
BUNDLED = (ENGLISH,)
REINSTALL = "install statim again (pip install --force-reinstall statim)"


def is_bundled(source: object) -> bool:
    """Is it the name of a model that comes with the package?

    Only a str can be: a ``Path`` and ``"./english"`` are folders.
    """
    return isinstance(source, str) and source in BUNDLED


def folder_of(name: str) -> Path:
    """The folder of a bundled model.

    Raises:
        ModelError: This installation lacks it.
    """
    folder = Path(__file__).parent / name
    if not folder.is_dir():
        raise ModelError(
            f"the model {name!r}, which comes with statim, is missing from {folder}; {REINSTALL}"
        )
    return folder
