"""The table inside model.safetensors: one row per token id, whatever it was stored as."""

from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class Stored:
    """A table as it is stored; all arrays are known to fit together.

    Attributes:
        path: The file, for messages.
        metadata: What the file says about itself.
        key: The name of the table: one of KEYS.
        table: (rows, d), of one of the types STORED, memory-mapped.
        mapping: (tokens,) id -> row, or None where token i has row i.
        weights: (tokens,) id -> factor, or None.
    """

    path: Path
    metadata: dict[str, str]
    key: str
    table: Array
    mapping: npt.NDArray[np.integer] | None
    weights: Array | None

    @property
    def tokens(self) -> int:
        """How many token ids there is a row for."""
        return len(self.table if self.mapping is None else self.mapping)

    def rows(self, tokens: int) -> tuple[Array, npt.NDArray[np.float32] | None]:
        """One row per token id, as model2vec reads it, and for int8 the scale of each.

        A table of float32, float16 (with weights of 1 or none), or int8 with float32 weights is taken as it
        is, memory-mapped. Any other way of storing it is unfolded to float32.

        Args:
            tokens: Rows wanted; at most ``self.tokens``.

        Returns:
            (tokens or more, d) float32, float16 or int8; and the scales, (tokens or more,) float32, or None.

        Raises:
            ModelError: The table would be absurdly large.
        """
        if self.mapping is None:
            as_it_is = np.require(self.table, requirements=["C", "A"])
            plain = self.weights is None or bool((self.weights == 1).all())
            if plain and self.table.dtype.name in ("float32", "float16"):
                return as_it_is, None
            if self.table.dtype == np.int8:
                scales = cast(npt.NDArray[np.float32], self.weights)
                if self.weights is None:
                    scales = np.ones(len(self.table), np.float32)
                if scales.dtype == np.float32 and (scales >= 0).all():
                    return as_it_is, np.require(scales, requirements=["C", "A"])
        return self._unfold(tokens), None

    def _unfold(self, tokens: int) -> npt.NDArray[np.float32]:
        dim = self.table.shape[1]
        if tokens * dim * 4 > LARGEST:
            raise ModelError(
                f"{self.path} unfolds to {tokens:,} rows of {dim:,} dimensions, over the limit of "
                f"{LARGEST >> 30} GiB"
            )
        out = np.empty((tokens, dim), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are found afterwards
            for start in range(0, tokens, BLOCK):
                end = min(start + BLOCK, tokens)
                part = self.table[start:end] if self.mapping is None else self.table[self.mapping[start:end]]
                # numpy's choice of type is model2vec's too: int8 times float16 is float16
                out[start:end] = (
                    part if self.weights is None else np.multiply(part, self.weights[start:end, None])
                )
        return out


def read(folder: Path) -> Stored:
    """What ``model.safetensors`` in ``folder`` holds, memory-mapped and checked.

    Raises:
        ModelError: The file is missing or not whole, an array is missing or of the wrong type, shape or
            range, or the weights are there as a pickle only.
    """
    path = folder / "model.safetensors"
    if not path.exists() and (folder / "pytorch_model.bin").exists():
        raise ModelError(
            f"{folder} holds its weights as pytorch_model.bin only, a pickle, which can run code when it "
            "is opened; save the model as model.safetensors"
        )
    arrays, metadata = load_tensors(path)
    key = next((key for key in KEYS if key in arrays), None)
    if key is None:
        raise ModelError(
            f"{path} holds {_names(arrays)} but no table of a static model, which would be called "
            f"{' or '.join(KEYS)}"
        )
    table = arrays[key]
    if table.ndim != 2 or table.shape[1] == 0 or table.dtype.name not in STORED:
        raise ModelError(
            f"{path}: {key} has shape {table.shape} and type {table.dtype}; it must have two dimensions "
            f"and be one of {', '.join(STORED)}"
        )
    stored = Stored(
        path, metadata, key, table, _mapping(path, arrays.get("mapping"), len(table)), arrays.get("weights")
    )
    weights = stored.weights
    if weights is not None and (weights.shape != (stored.tokens,) or weights.dtype.kind != "f"):
        raise ModelError(
            f"{path}: weights has shape {weights.shape} and type {weights.dtype}; "
            f"it must hold one float for each of the {stored.tokens:,} tokens"
        )
    return stored


def _mapping(path: Path, mapping: Array | None, rows: int) -> npt.NDArray[np.integer] | None:
    """The mapping if it is valid, None if there is none or it changes nothing."""
    if mapping is None:
        return None
    if mapping.ndim != 1 or mapping.dtype.kind not in "iu":
        raise ModelError(
            f"{path}: mapping has shape {mapping.shape} and type {mapping.dtype}; it must be one row "
            "of integers"
        )
    integers = cast(npt.NDArray[np.integer], mapping)
    outside = np.flatnonzero((integers < 0) | (integers >= rows))
    if len(outside):
        raise ModelError(
            f"{path}: mapping sends token {outside[0]:,} to row {integers[outside[0]]:,}, but the "
            f"table has {rows:,} rows"
        )
    return None if np.array_equal(integers, np.arange(rows)) else integers


def _names(arrays: dict[str, Array]) -> str:
    names = sorted(arrays)
    shown = ", ".join(name[:40] for name in names[:3]) or "no arrays"
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3:,} more arrays"
