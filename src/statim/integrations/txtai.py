"""txtai: vectors, with ``method="statim.integrations.txtai.StatimVectors"`` and ``path`` the model."""

from typing import Any

import numpy as np
import numpy.typing as npt
from txtai.vectors import Vectors

from statim.model import StaticModel


class StatimVectors(Vectors):
    """A static model as txtai's vectors; queries and data have the model's prompts."""

    def loadmodel(self, path: str) -> StaticModel:
        """The model at ``path``.

        Raises:
            ModelError: There is none.
        """
        return StaticModel.load(path)

    def encode(self, data: Any, category: str | None = None) -> npt.NDArray[np.float32]:
        """The vectors of texts, (n, d) float32; ``category`` is ``query`` or ``data``."""
        encode = self.model.encode_query if category == "query" else self.model.encode_document
        found: npt.NDArray[np.float32] = encode(list(data))
        return found
