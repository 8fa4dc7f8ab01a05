"""The vectors of anchors and documents at length 1: given by the caller, or made by a model."""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.errors import InputError
from statim.mining.nearest import scaled
from statim.mining.pool import Pool
from statim.model import StaticModel
from statim.search.engines.matrices import matrix
from statim.teacher.teacher import Teacher

Floats = npt.NDArray[np.float32]


def given_vectors(
    vectors: Sequence[npt.ArrayLike], pool: Pool, pairs: int, rows: int, corpus: pa.LargeStringArray | None
) -> tuple[Floats, Floats]:
    """The vectors of distinct anchors and documents at length 1, from those of all rows.

    Raises:
        InputError: They are not as many as the texts.
    """
    names = ("the anchors' vectors", "the positives' vectors", "the corpus's vectors")
    wanted = [pairs, pairs] + ([] if corpus is None else [len(corpus)])
    if not isinstance(vectors, (list, tuple)) or len(vectors) != len(wanted):
        raise InputError(
            f"vectors must be {len(wanted)} arrays: of the anchors, of the positives"
            + (", of the corpus" if corpus is not None else "")
        )
    arrays = [matrix(array, name) for array, name in zip(vectors, names, strict=False)]
    for array, count, name in zip(arrays, wanted, names, strict=False):
        if len(array) != count:
            dropped = (
                f" ({rows - pairs:,} of {rows:,} rows were dropped as empty or repeated)"
                if rows > pairs
                else ""
            )
            raise InputError(f"{name} are {len(array):,} for {count:,} texts{dropped}; give one for each")
        if array.shape[1] != arrays[0].shape[1]:
            raise InputError(
                f"{name} have {array.shape[1]} dimensions and the anchors' {arrays[0].shape[1]}; they "
                "must agree"
            )
    documents = arrays[1] if corpus is None else np.concatenate([arrays[2], arrays[1]])
    return (
        scaled(arrays[0], names[0], pool.anchor_rows),
        scaled(documents, "the documents' vectors", pool.document_rows),
    )


def encoded(
    model: Any,
    texts: pa.LargeStringArray,
    kind: str,
    prompt: str | None,
    prompt_name: str | None,
    *,
    threads: int | None,
    progress: bool,
) -> Floats:
    """The vectors of queries or documents at length 1, (n, d)."""
    if prompt is None and prompt_name is not None:
        prompt = _prompt(model, prompt_name)
    encode = getattr(model, f"encode_{kind}", None) or getattr(model, "encode", None)
    apart = prompt is not None and _takes_prompt(encode)  # else it is put before the texts here
    if prompt is not None and not apart:
        encode = getattr(model, "encode", None)
    if encode is None:
        raise InputError(
            f"the model is a {type(model).__name__} without a method encode; give a static model, a "
            "teacher, or vectors"
        )
    options: dict[str, Any] = {}
    if isinstance(model, (StaticModel, Teacher)):
        options = {"threads": threads, "progress": progress}
    listed = texts.to_pylist()
    if apart:
        options["prompt"] = prompt
    elif prompt is not None:
        listed = [prompt + text for text in listed]
    found = matrix(encode(listed, **options), f"the vectors of the {kind} texts")
    if len(found) != len(listed):
        raise InputError(
            f"the model made {len(found):,} vectors of {len(listed):,} texts; it must make one of each"
        )
    return scaled(found, f"the {'anchors' if kind == 'query' else 'documents'}' vectors")


def _takes_prompt(encode: Any) -> bool:
    """Does a method have a parameter ``prompt``, so that it adds no prompt of its own?"""
    try:
        return "prompt" in inspect.signature(encode).parameters
    except (TypeError, ValueError):  # no function, or one that does not tell
        return False


def _prompt(model: Any, name: str) -> str:
    """One of a model's own prompts.

    Raises:
        InputError: It has none of that name.
    """
    known = (
        model.settings.prompts if isinstance(model, StaticModel) else getattr(model, "prompts", None) or {}
    )
    if name not in known:
        raise InputError(f"the model has no prompt {name!r}; it has {', '.join(known) or 'none'}")
    return str(known[name] or "")
