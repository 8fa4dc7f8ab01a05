"""A model that learns from baskets: items that people took together become each other's positives."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from statim.errors import InputError
from statim.model import StaticModel
from statim.tasks.basket_judging import BasketTable, judge_baskets
from statim.tasks.baskets import Baskets
from statim.tasks.recommend import Recommender
from statim.training.train import train

HELDOUT = 1000  # baskets, at most a tenth


@dataclass(frozen=True)
class Learned:
    """A model trained on baskets, and the table of those that it was not trained on (None where none were held out)."""

    model: StaticModel
    table: BasketTable | None
    pairs: int


def train_on_baskets(
    content: Recommender,
    baskets: Baskets,
    *,
    out: str | Path | None = None,
    heldout: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    threads: int | None = None,
    progress: bool = False,
    **options: Any,
) -> Learned:
    """Train a model on pairs of items of the same basket, from the model that knows their texts alone.

    Every pair of a basket's items is known to the training, so none of them is a negative of another (see statim.training).

    Args:
        content: The catalogue and the model to start from.
        baskets: What people took together.
        out: The folder to save the model into.
        heldout: So many baskets are kept for the table: popularity, the model before and after; by default a tenth, at most HELDOUT.
        seed: Decides which, which pairs of large baskets, and the training.
        overwrite: Replace what stands at ``out``.
        threads: Threads to use.
        progress: Show progress bars on a terminal.
        options: For ``statim.train``: epochs, batch, learning_rate ….

    Raises:
        DataError: No two baskets have two items each.
        InputError: An argument is out of range.
    """
    count = min(HELDOUT, len(baskets) // 10) if heldout is None else heldout
    if not 0 <= count < len(baskets):
        raise InputError(
            f"heldout is {count}; it must be from 0 to {len(baskets) - 1}, fewer than the baskets"
        )
    order = np.random.default_rng(seed).permutation(len(baskets))
    rest, learned = baskets.select(np.sort(order[:count])), baskets.select(np.sort(order[count:]))
    pairs = learned.pairs(content.texts, seed)
    trained = train(
        pairs, out=out, start=content.model, heldout=0, baselines=False, seed=seed, overwrite=overwrite,
        threads=threads, progress=progress, **options,
    )  # fmt: skip
    table = None
    if (np.diff(rest.offsets) >= 2).any():
        both = {"content": content, "trained": content.with_model(trained.model, threads=threads)}
        table = judge_baskets(both, rest, learned, seed=seed, threads=threads)
    return Learned(trained.model, table, len(pairs))
