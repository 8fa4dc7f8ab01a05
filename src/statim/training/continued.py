"""An earlier static model trained on: rows that move by how often they occur, and the model that results."""

import numpy as np
import numpy.typing as npt

from statim.model import StaticModel
from statim.training.datasets.bags import Bags
from statim.training.start import Start

RATES = 64  # different learning rates of rows by how many texts have them

Floats = npt.NDArray[np.float32]


def rarer_slower(rates: Floats | None, bags: Bags, rare_rows: float, old_rows: int | None) -> Floats | None:
    """Row rates (V,), of old rows multiplied by n / (n + rare_rows) for the n texts that have the token.

    They are rounded up to one of RATES values. Rows that no text has keep their rates, which count for
    nothing but decay.
    """
    if rates is None or not rare_rows:
        return rates
    texts = np.bincount(bags.ids, minlength=len(rates))[:old_rows].astype(np.float64)
    slower = np.where(texts > 0, np.ceil(texts / (texts + rare_rows) * RATES) / RATES, 1)
    return np.concatenate([rates[:old_rows] * slower, rates[len(slower) :]]).astype(np.float32)


def continued(begun: Start, first: Floats, trained: Floats) -> StaticModel | None:
    """The start's model with a trained table, or None where the start is no model of these dimensions.

    The table is brought back to the size of the model's own, which training had scaled, and rows that did not
    move are the model's to the bit. So are its settings.

    Args:
        begun: What training started from.
        first: (V, d) the table before training.
        trained: (V, d) the table after it.
    """
    if begun.model is None or begun.source is None or begun.source.shape[1] != trained.shape[1]:
        return None
    own = begun.source
    size = np.sqrt(np.mean(np.square(own, dtype=np.float64)))
    table = trained * np.float32(size if size > 0 else 1)
    kept = np.arange(len(own)) if begun.pruned is None else begun.pruned.kept
    kept = kept[kept < len(own)]
    still = (trained[: len(kept)] == first[: len(kept)]).all(axis=1)
    table[: len(kept)][still] = own[kept[still]]
    return StaticModel(table, begun.tokenizer, begun.model.settings)
