"""The table inside model.safetensors: one float32 row per token id, whatever it was stored as."""

from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from statim.errors import ModelError
from statim.tensors import Array, load_tensors

KEYS = ("embedding.weight", "embeddings")  # of sentence-transformers; of model2vec and statim
STORED = ("float16", "float32", "float64", "int8")
LARGEST = (
    32 << 30
)  # bytes of a table once unfolded: a small hostile file must not ask for more memory than that
BLOCK = 4096  # rows unfolded at a time


def read_arrays(folder: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays of ``model.safetensors``, memory-mapped, and its metadata.

    Raises:
        ModelError: The file is missing or not whole, or the weights are there as a pickle only.
    """
    path = folder / "model.safetensors"
    if not path.exists() and (folder / "pytorch_model.bin").exists():
        raise ModelError(
            f"{folder} holds its weights as pytorch_model.bin only, a pickle, which can run code when it is opened; "
            "save the model as model.safetensors"
        )
    return load_tensors(path)


def unfold(path: Path, arrays: dict[str, Array], rows: int) -> npt.NDArray[np.float32]:
    """One float32 row per token id from a stored table, its optional ``mapping`` (id -> row) and ``weights`` (id -> factor).

    A float32 table with neither is given as it is, memory-mapped; the rest is unfolded as model2vec reads it.

    Args:
        path: The file, for messages.
        arrays: What the file holds.
        rows: How many token ids there are; rows beyond are not unfolded.

    Raises:
        ModelError: An array is missing, or of the wrong type, shape or range.
    """
    key = next((key for key in KEYS if key in arrays), None)
    if key is None:
        raise ModelError(
            f"{path} holds {_names(arrays)} but no table of a static model, which would be called {' or '.join(KEYS)}"
        )
    table = arrays[key]
    if table.ndim != 2 or table.shape[1] == 0 or table.dtype.name not in STORED:
        raise ModelError(
            f"{path}: {key} has shape {table.shape} and type {table.dtype}; it must have two dimensions "
            f"and be one of {', '.join(STORED)}"
        )
    mapping, weights = _mapping(path, arrays.get("mapping"), len(table)), arrays.get("weights")
    tokens = len(table) if mapping is None else len(mapping)
    if weights is not None and (weights.shape != (tokens,) or weights.dtype.kind != "f"):
        raise ModelError(
            f"{path}: weights has shape {weights.shape} and type {weights.dtype}; "
            f"it must hold one float for each of the {tokens:,} tokens"
        )
    if mapping is None and weights is None and table.dtype == np.float32:
        return np.require(cast(npt.NDArray[np.float32], table), requirements=["C", "A"])
    return _unfold(path, table, mapping, weights, min(rows, tokens))


def _mapping(path: Path, mapping: Array | None, rows: int) -> npt.NDArray[np.integer] | None:
    """The mapping if it is valid, None if there is none or it changes nothing."""
    if mapping is None:
        return None
    if mapping.ndim != 1 or mapping.dtype.kind not in "iu":
        raise ModelError(
            f"{path}: mapping has shape {mapping.shape} and type {mapping.dtype}; it must be one row of integers"
        )
    integers = cast(npt.NDArray[np.integer], mapping)
    outside = np.flatnonzero((integers < 0) | (integers >= rows))
    if len(outside):
        raise ModelError(
            f"{path}: mapping sends token {outside[0]:,} to row {integers[outside[0]]:,}, but the table has {rows:,} rows"
        )
    return None if np.array_equal(integers, np.arange(rows)) else integers


def _unfold(
    path: Path, table: Array, mapping: npt.NDArray[np.integer] | None, weights: Array | None, tokens: int
) -> npt.NDArray[np.float32]:
    if tokens * table.shape[1] * 4 > LARGEST:
        raise ModelError(
            f"{path} unfolds to {tokens:,} rows of {table.shape[1]:,} dimensions, over the limit of {LARGEST >> 30} GiB"
        )
    out = np.empty((tokens, table.shape[1]), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # infinities are found afterwards
        for start in range(0, tokens, BLOCK):
            end = min(start + BLOCK, tokens)
            part = table[start:end] if mapping is None else table[mapping[start:end]]
            out[start:end] = part if weights is None else np.multiply(part, weights[start:end, None])
    return out


def _names(arrays: dict[str, Array]) -> str:
    names = sorted(arrays)
    shown = ", ".join(name[:40] for name in names[:3]) or "no arrays"
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3:,} more arrays"
