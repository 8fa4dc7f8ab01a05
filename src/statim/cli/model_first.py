"""Which model a verb takes: ``--model``, or its first argument, or else the bundled one."""

from collections.abc import Sequence
from glob import has_magic
from pathlib import Path
from typing import Annotated

import typer

from statim.addresses import is_elsewhere, looks_like_one
from statim.errors import InputError
from statim.models import ENGLISH, is_bundled

RULE = (
    "MODEL is a folder, word vectors, or a hub name; by default english, which comes with statim. It is the "
    "first argument, or --model"
)
COUNTED = f"{RULE}."
GUESSED = (
    f"{RULE}. Without --model, the first argument is the model unless it is a file or folder of another kind."
)
IN_FOLDER = (  # two of these are in the folder of a model, of a damaged one too
    "model.safetensors",
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "tokenizer.json",
    "pytorch_model.bin",
)
WEIGHTS = (".safetensors", ".bin", ".zip")  # files of a model, named by mistake; the loader says what to name

Option = Annotated[
    str | None,
    typer.Option("--model", help="A model: folder, word vectors, or hub name (default english)."),
]


def split_arguments(
    given: Sequence[str], model: str | None, *names: str, more: bool = False
) -> tuple[str, list[str]]:
    """The model of a verb, and its other arguments.

    Where their number is fixed, one argument more than that begins with the model, and so does a folder that
    holds one. Where any number may follow, the first is the model if ``names_model`` says so.

    Args:
        given: All arguments.
        model: What ``--model`` names.
        names: What the verb needs beside a model, for messages.
        more: More arguments may follow.

    Raises:
        InputError: There are too few arguments, or too many.
    """
    rest = list(given)
    how = ""
    if model is None:
        surplus = len(rest) > len(names)
        first = bool(rest) and (names_model(rest[0]) if more else surplus or _is_model_folder(Path(rest[0])))
        model = rest.pop(0) if first else ENGLISH
        if first and names:
            how = f"; if {model} is {names[0]}, name the model with --model"
    if len(rest) < len(names):
        after = f" after {rest[-1]}" if rest else ""
        raise InputError(f"{names[len(rest)]} is missing{after} (the model is {model}){how}; see --help")
    if len(rest) > len(names) and not more:
        raise InputError(f"there is an argument too many, {rest[-1]!r}; see --help")
    return model, rest


def names_model(name: str) -> bool:
    """Does an argument name a model, rather than data?

    ``english``; a folder that holds one, or the better part of one; a file of word vectors; or a name that
    may be on the hub: nothing here has it, and it is neither a pattern nor an address, nor ends as a data
    file does.
    """
    from statim.data.documents.texts import STDIN
    from statim.data.files.file_types import COMPRESSIONS, FORMATS

    if is_bundled(name):
        return True
    path = Path(name)
    try:
        if path.is_dir():
            return _is_model_folder(path)
        plain = path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path
        suffix = plain.suffix.lower()
        if not path.is_file():
            is_data = name == STDIN or has_magic(name) or looks_like_one(name) or is_elsewhere(name)
            return not is_data and suffix not in FORMATS and suffix not in _documents()
    except OSError:
        return True  # the loader says what is wrong with it
    if FORMATS.get(suffix, "text") != "text":
        return False
    return path.suffix.lower() in WEIGHTS or _is_word_vectors(path)


def _is_model_folder(path: Path) -> bool:
    return sum((path / part).exists() for part in IN_FOLDER) >= 2


def _documents() -> tuple[str, ...]:
    from statim.data.documents.files import SUFFIXES

    return SUFFIXES


def _is_word_vectors(path: Path) -> bool:
    from statim.formats import word_vectors

    return word_vectors.begins_here(path)
