"""A model that learns from baskets: items that people took together become each other's positives."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from statim.errors import InputError
from statim.model import StaticModel
from statim.tasks.recommend.basket_judging import BasketTable, judge_baskets
from statim.tasks.recommend.baskets import Baskets
from statim.tasks.recommend.recommend import Recommender
from statim.training.train import train

HELDOUT = 1000  # baskets, at most a tenth; and as many to choose the weight of popularity by
EPOCHS = 3  # of the pairs; ten were worse (benchmarks/RESULTS.md)
WEIGHTS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)  # of popularity


BOTH = "trained and popularity"


@dataclass(frozen=True)
class Learned:
    """A model trained on baskets.

    Attributes:
        model: The model.
        popularity: The weight of popularity that did best on development baskets.
        table: Of baskets that were neither trained on nor chosen by; None where none were held out.
        pairs: How many pairs it was trained on.
    """

    model: StaticModel
    popularity: float
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

    Every pair of a basket's items is known to the training, so none of them is a negative of another (see
    statim.training).

    Args:
        content: The catalogue and the model to start from.
        baskets: What people took together.
        out: The folder to save the model into.
        heldout: So many baskets are kept for the table (popularity, the model before and after, both
            together), and as many to choose the weight of popularity by; by default a tenth, at most HELDOUT.
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
    if not 0 <= 2 * count < len(baskets):
        raise InputError(
            f"heldout is {count}; twice as many are held out, which must leave some of the "
            f"{len(baskets):,} baskets"
        )
    order = np.random.default_rng(seed).permutation(len(baskets))
    cuts = np.split(order, [count, 2 * count])
    rest, development, learned = (baskets.select(np.sort(part)) for part in cuts)
    pairs = learned.pairs(content.texts, seed)
    trained = train(
        pairs, out=out, start=content.model, heldout=0, baselines=False, seed=seed, overwrite=overwrite,
        threads=threads, progress=progress, **options | {"epochs": options.get("epochs") or EPOCHS},
    )  # fmt: skip
    model, weight, table = trained.model, 0.0, None
    after = content.with_model(model, threads=threads).learn_popularity(learned)
    if _can_judge(development):
        worth = {
            weight: judge_baskets(
                {"trained": after}, development, popularity={"trained": weight}, seed=seed, threads=threads
            ).figures["trained"]["ndcg@10"]
            for weight in WEIGHTS
        }
        weight = max(worth, key=lambda weight: worth[weight])
    if _can_judge(rest):
        compared = {"content": content, "trained": after, BOTH: after}
        table = judge_baskets(compared, rest, learned, popularity={BOTH: weight}, seed=seed, threads=threads)
    return Learned(model, weight, table, len(pairs))


def _can_judge(baskets: Baskets) -> bool:
    return bool((np.diff(baskets.offsets) >= 2).any())
