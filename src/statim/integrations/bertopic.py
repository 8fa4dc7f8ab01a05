"""BERTopic: a backend.

BERTopic takes an object of any other class, even one with ``encode``, for none, and uses its own model.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from bertopic.backend import BaseEmbedder

from statim.integrations.loading import loaded
from statim.model import StaticModel


class StatimBackend(BaseEmbedder):
    """A static model as BERTopic's backend.

    Args:
        model: A model, or where it is.

    Raises:
        ModelError: There is no model there.
    """

    def __init__(self, model: StaticModel | str | Path) -> None:
        super().__init__(embedding_model=loaded(model))

    def embed(self, documents: Any, verbose: bool = False) -> npt.NDArray[np.float32]:
        """The vectors of n documents or words, (n, d) float32."""
        found: npt.NDArray[np.float32] = self.embedding_model.encode(list(documents), progress=verbose)
        return found
