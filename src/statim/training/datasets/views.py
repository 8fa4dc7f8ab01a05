"""A teacher's vectors of the texts of pairs, in float16."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Halves = npt.NDArray[np.float16]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Views:
    """What a teacher makes of the texts of pairs, as queries and as documents.

    Attributes:
        queries: (q, D) float16, of those texts that are anchors.
        documents: (m, D) float16, of those that are positives or negatives.
        query_of: (T,) int32, for each text its row in ``queries``, or -1.
        document_of: (T,) int32, for each text its row in ``documents``, or -1.
    """

    queries: Halves
    documents: Halves
    query_of: npt.NDArray[np.int32]
    document_of: npt.NDArray[np.int32]

    def of_queries(self, texts: npt.NDArray[Any]) -> Floats:
        """The vectors of texts as queries, (m, D) float32."""
        return np.asarray(self.queries[self.query_of[texts]], np.float32)

    def of_documents(self, texts: npt.NDArray[Any]) -> Floats:
        """The vectors of texts as documents, (m, D) float32."""
        return np.asarray(self.documents[self.document_of[texts]], np.float32)
