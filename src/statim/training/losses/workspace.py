"""Large arrays that every step uses again: fresh memory would have to be cleared by the system each time."""

from typing import Any

import numpy as np
import numpy.typing as npt


class Workspace:
    """Arrays by name. One that was taken is valid until the same name is taken again."""

    def __init__(self) -> None:
        self._arrays: dict[str, npt.NDArray[Any]] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An array of this shape, not cleared."""
        size = int(np.prod(shape))
        array = self._arrays.get(name)
        if array is None or len(array) < size or array.dtype != dtype:
            array = self._arrays[name] = np.empty(size + size // 8, dtype)
        return array[:size].reshape(shape)
