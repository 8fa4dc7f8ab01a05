"""StaticEmbedder: a static model as a scikit-learn transformer, for pipelines and grid search."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.errors import DependencyError, InputError
from statim.model import StaticModel, as_model

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
except ImportError:
    raise DependencyError(
        'StaticEmbedder needs scikit-learn, which is not installed; pip install "statim[tasks]"'
    ) from None


class StaticEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Texts in, vectors out; nothing is learned.

    It is copied and stored by what it was made with: give the model by its path, and joblib and processes
    beside this one carry the path, not the table.

    Args:
        model: A model's path or name (see ``StaticModel.load``), or a StaticModel; None takes the bundled
            ``"english"``.
        dim: Keep only the first dimensions.
        normalize: Scale vectors to length 1; None does as the model's settings say.
        threads: Threads to use; see statim.threads.

    Examples:
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> texts = ["open a file", "read the file", "open a socket", "close the socket"]
        >>> labels = [0, 0, 1, 1]
        >>> pipeline = make_pipeline(StaticEmbedder("model"), LogisticRegression()).fit(texts, labels)
        >>> pipeline.predict(["copy the file"]).tolist()
        [0]
    """

    def __init__(
        self,
        model: str | Path | StaticModel | None = None,
        *,
        dim: int | None = None,
        normalize: bool | None = None,
        threads: int | None = None,
    ) -> None:
        self.model = model
        self.dim = dim
        self.normalize = normalize
        self.threads = threads

    def fit(self, X: Iterable[str], y: Any = None) -> "StaticEmbedder":  # noqa: ARG002 - as scikit-learn calls it
        """Load the model; nothing is learned.

        Args:
            X: n texts, not looked at.
            y: Not looked at.

        Raises:
            InputError: ``dim`` is larger than the model's, or X is no column of texts.
            ModelError: There is no model there.
        """
        _check(X)
        self._static().encode([], dim=self.dim)
        return self

    def transform(self, X: Iterable[str]) -> npt.NDArray[np.float32]:
        """The vectors of n texts, (n, d) float32.

        Raises:
            InputError: A text is not a str (the message names its position), or X is no column of texts.
            ModelError: There is no model there.
        """
        _check(X)
        found: npt.NDArray[np.float32] = self._static().encode(
            X, dim=self.dim, normalize=self.normalize, threads=self.threads
        )
        return found

    def _static(self) -> StaticModel:
        """The model, loaded once for each path."""
        if isinstance(self.model, StaticModel):
            return self.model
        held: tuple[Any, StaticModel] | None = self.__dict__.get("_loaded")
        if held is None or held[0] != self.model:
            held = self._loaded = (self.model, as_model(self.model))
        return held[1]

    @property
    def _n_features_out(self) -> int:
        return self._static().dim if self.dim is None else self.dim

    def __getstate__(self) -> dict[str, Any]:
        """All but the loaded model, which is loaded again where it is needed."""
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_loaded", None)
        return state

    def __sklearn_tags__(self) -> Any:
        """It takes columns of texts, and needs no fitting."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.requires_fit = False
        return tags


def _check(X: Any) -> None:
    if isinstance(X, str):
        raise InputError("X is one text; give a list or a column of texts")
    if getattr(X, "ndim", 1) != 1:
        raise InputError(f"X has {X.ndim} dimensions; give one column of texts")
