"""Which model a verb takes: ``--model``, or its first argument, or else the bundled one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

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
IN_FOLDER = (  # one of these is in the folder of a model, a damaged one too
    "model.safetensors",
    "config.json",
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

    Where their number is fixed, it tells whether the first is the model. Where any number may follow, the
    first is the model if ``names_model`` says so.

    Args:
        given: All arguments.
        model: What ``--model`` names.
        names: What the verb needs beside a model, for messages.
        more: More arguments may follow.

    Raises:
        InputError: There are too few arguments, or too many.
    """
    rest = list(given)
    if model is None:
        first = names_model(rest[0]) if rest and more else len(rest) > len(names)
        model = rest.pop(0) if first else ENGLISH
    if len(rest) < len(names):
        missing = names[len(rest)]
        after = f" after {rest[-1]}" if rest else f" (the model is {model})"
        raise InputError(f"{missing} is missing{after}; see --help")
    if len(rest) > len(names) and not more:
        raise InputError(f"there is an argument too many, {rest[-1]!r}; see --help")
    return model, rest


def names_model(name: str) -> bool:
    """Does an argument name a model, rather than data?

    ``english``; a folder that holds one, or the better part of one; a file of word vectors; or what is
    nothing here and does not end as a data file does: a name on the hub.
    """
    from statim.data.documents.texts import STDIN
    from statim.data.files.file_types import COMPRESSIONS, FORMATS

    if is_bundled(name):
        return True
    path = Path(name)
    try:
        if path.is_dir():
            return any((path / part).exists() for part in IN_FOLDER)
        plain = path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path
        if not path.is_file():
            return name != STDIN and plain.suffix.lower() not in FORMATS
    except OSError:
        return True  # the loader says what is wrong with it
    if FORMATS.get(plain.suffix.lower(), "text") != "text":
        return False
    return path.suffix.lower() in WEIGHTS or _is_word_vectors(path)


def _is_word_vectors(path: Path) -> bool:
    from statim.formats import word_vectors

    return word_vectors.begins_here(path)
