"""How models are written: one file per format; each reads and writes Parts and knows no model."""

from pathlib import Path

from statim import addresses, models
from statim.consistent import read_whole
from statim.digests import Verify
from statim.errors import InputError, ModelError
from statim.files import read_errors
from statim.formats import hub, huggingface, word_vectors
from statim.formats.huggingface import Opened, opened
from statim.formats.parts import Parts

__all__ = ["Opened", "opened", "read", "write"]

# Files that people name by mistake, and what they should name
MISTAKEN = {
    ".safetensors": "name the folder it lies in",
    ".json": "name the folder it lies in",
    ".bin": "a binary file is not read; save word vectors as text, or name the folder of a model",
    ".zip": "unpack it first",
}


def read(source: str | Path, verify: Verify | None = None) -> Parts:
    """Read a bundled model, a folder, a file of word vectors, or one from the Hugging Face hub.

    ``verify`` is as in StaticModel.load.

    Raises:
        InputError: ``source`` is neither text nor a path.
        ModelError: There is no model there, not a whole one, or one that is not static.
    """
    if models.is_bundled(source):
        return _bundled(str(source), verify)
    if not isinstance(source, (str, Path)) or not str(source):
        raise InputError(
            f"the model is {source!r}; give a folder, a file of word vectors, or a name on the Hugging "
            "Face hub"
        )
    addresses.refuse(source, "the model")
    path = Path(source)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise ModelError(f"{str(source)[:200]} cannot be read: {error.strerror}") from None
    if is_file:
        if path.suffix in MISTAKEN:
            raise ModelError(f"{path} is not a model by itself; {MISTAKEN[path.suffix]}")
        return word_vectors.read(path)
    folder = path if is_folder else hub.resolve(str(source))
    with read_errors(folder):
        return read_whole(folder, lambda: huggingface.read(folder, verify))


def _bundled(name: str, verify: Verify | None) -> Parts:
    folder = models.folder_of(name)
    try:
        with read_errors(folder):
            (folder / "config.json").stat()  # without which the folder passes for another library's
            return huggingface.read(folder, verify)
    except ModelError as error:
        raise ModelError(
            f"the model {name!r}, which comes with statim, is not whole: {error}; so {models.REINSTALL}"
        ) from None


def write(path: str | Path, parts: Parts, *, card: str | None = None, overwrite: bool = False) -> None:
    """Write a folder that statim, sentence-transformers and model2vec load; see ``huggingface.write``."""
    huggingface.write(Path(path), parts, card=card, overwrite=overwrite)
