"""Candidates scored once more by a cross-encoder, which reads both texts together."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.errors import InputError
from statim.mining.pool import Pool
from statim.search.rerank import CrossEncoder, load_cross_encoder

PREDICTED = 1 << 14  # pairs handed over at a time

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]


class Rescoring:
    """The scores of a cross-encoder.

    Args:
        model: An object with ``predict``, or the name or path of a CrossEncoder of sentence-transformers.
        pool: The texts.
        batch_size: Of a sentence-transformers CrossEncoder.

    Raises:
        InputError: There is no such model, or it cannot predict.
        DependencyError: It is named, and sentence-transformers is not installed.
    """

    def __init__(self, model: str | CrossEncoder, pool: Pool, batch_size: int) -> None:
        self._model = load_cross_encoder(model) if isinstance(model, str) else model
        if not hasattr(self._model, "predict"):
            raise InputError(f"the cross-encoder is a {type(model).__name__} without a method predict(pairs)")
        self._pool, self._options = pool, {}
        if type(self._model).__module__.startswith("sentence_transformers"):
            self._options = {"batch_size": batch_size, "show_progress_bar": False}

    def positives(self) -> Floats:
        """The scores of all positives with their anchors, (P,)."""
        return self._scores(self._pool.owners, self._pool.positives)

    def candidates(self, start: int, scores: Floats, positions: Longs) -> tuple[Floats, Longs]:
        """Candidates scored again, and put in that order.

        Args:
            start: The first anchor.
            scores: (b, W) of its and the following anchors' candidates.
            positions: (b, W) the documents; -1 where there is none.
        """
        scores = np.full_like(scores, -np.inf)
        i, j = np.nonzero(positions >= 0)
        scores[i, j] = self._scores(start + i, positions[i, j])
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(positions, order, axis=1)

    def _scores(self, anchors: Longs, documents: Longs) -> Floats:
        """Of some anchors with some documents.

        Raises:
            InputError: The model gives something else than a finite number for each pair.
        """
        found = np.empty(len(anchors), np.float32)
        for start in range(0, len(found), PREDICTED):
            part = slice(start, start + PREDICTED)
            left = self._pool.anchors.take(pa.array(anchors[part])).to_pylist()
            right = self._pool.documents.take(pa.array(documents[part])).to_pylist()
            some = np.asarray(
                self._model.predict(list(zip(left, right, strict=True)), **self._options), np.float32
            )
            if some.shape != (len(left),) or not np.isfinite(some).all():
                raise InputError(
                    f"the cross-encoder gave scores of the shape {some.shape} for {len(left):,} pairs, or "
                    "some that are not finite; it must give one finite number for each"
                )
            found[part] = some
        return found
