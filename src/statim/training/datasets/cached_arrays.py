"""Tokenized pairs from the cache, checked before compiled loops follow their numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.errors import ModelError
from statim.tensors import load_tensors

KINDS = {
    "ids": ("<i4", 1), "counts": ("<u2", 1), "offsets": ("<i8", 1), "totals": ("<i4", 1),
    "anchors": ("<i4", 1), "candidates": ("<i4", 2), "known": ("<i4", 1), "known_offsets": ("<i8", 1),
}  # fmt: skip


def read(path: Path, count: int, width: int, vocabulary: int) -> tuple[dict[str, npt.NDArray[Any]], int]:
    """The arrays of a TrainingSet and its ``same``.

    Args:
        path: A sealed file of tensors.
        count: Pairs.
        width: Candidates of each.
        vocabulary: One more than the largest id.

    Raises:
        ModelError: The file is missing, damaged, or of other pairs.
    """
    arrays, about = load_tensors(path)
    kinds = {name: (array.dtype.str, array.ndim) for name, array in arrays.items()}
    if kinds != KINDS or not about.get("same", "").isdecimal() or not _fits(arrays, count, width, vocabulary):
        raise ModelError(f"{path} does not hold these tokenized pairs, or is damaged; delete it")
    return dict(arrays), int(about["same"])


def _fits(arrays: dict[str, Any], count: int, width: int, vocabulary: int) -> bool:
    texts = len(arrays["totals"])
    return (
        arrays["anchors"].shape == (count,)
        and arrays["candidates"].shape == (count, width)
        and arrays["counts"].shape == arrays["ids"].shape
        and _within(arrays["ids"], 0, vocabulary)
        and _within(arrays["anchors"], 0, texts)
        and _within(arrays["candidates"], -1, texts)
        and _within(arrays["known"], 0, texts)
        and _divides(arrays["offsets"], texts, len(arrays["ids"]))
        and _divides(arrays["known_offsets"], texts, len(arrays["known"]))
    )


def _within(numbers: npt.NDArray[np.int32], least: int, end: int) -> bool:
    return numbers.size == 0 or bool(numbers.min() >= least and numbers.max() < end)


def _divides(offsets: npt.NDArray[np.int64], parts: int, size: int) -> bool:
    """Whether offsets divide an array of ``size`` entries into parts."""
    if offsets.shape != (parts + 1,) or offsets[0] != 0 or offsets[-1] != size:
        return False
    return bool((offsets[1:] >= offsets[:-1]).all())
