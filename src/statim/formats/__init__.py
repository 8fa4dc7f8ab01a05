"""How models are written: one file per format; each reads and writes Parts and knows no model."""

from pathlib import Path

from statim.formats import huggingface
from statim.formats.parts import Parts

__all__ = ["read", "write"]


def read(source: str | Path) -> Parts:
    """Read a model from a folder, a file of word vectors, or the Hugging Face hub.

    Raises:
        ModelError: There is no model there, or not a whole one.
    """
    return huggingface.read(Path(source))


def write(path: str | Path, parts: Parts, *, card: str | None = None, overwrite: bool = False) -> None:
    """Write a folder that statim, sentence-transformers and model2vec load alike."""
    huggingface.write(Path(path), parts, card=card, overwrite=overwrite)
