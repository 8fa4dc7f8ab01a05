"""How good is the table now? NDCG@10 on the development pairs, which are tokenized once."""

import math
from collections.abc import Iterable
from functools import partial

import numpy as np
import numpy.typing as npt

from statim import threads as executor
from statim.data.labelled.retrieval import from_pairs
from statim.data.pairs.pairs import Pairs
from statim.evaluation.retrieval import ranking_scores
from statim.model import StaticModel
from statim.settings import Settings
from statim.tokenizer.tokenizer import Tokenizer
from statim.tokenizer.tokens import Tokens
from statim.training.datasets.bags import TrainingSet
from statim.training.recipe import Recipe
from statim.training.run.history import NDCG

SHARE = 0.04  # of the steps' time may go into evaluations
MOST = 4  # evaluations an epoch
# What things take relative to each other (as measured, nanoseconds on two cores with bfloat16). A clock would
# space evaluations differently in every run.
FIXED, TABLE, POOL, SCORE = 6e6, 0.9, 0.1, 0.035  # an evaluation; per number of the table, pooled, multiplied
ENTRY, PRODUCT, SOFTMAX = 0.35, 0.016, 1.5  # a step, per number gathered, multiplied; per score

Floats = npt.NDArray[np.float32]


class Validation:
    """The development pairs as a retrieval task: find each anchor's positives among all.

    Args:
        pairs: At least one pair.
        tokenizer: The model's.
        settings: The model's; its prompts are put before the texts.
        threads: Threads to use.
    """

    def __init__(self, pairs: Pairs, tokenizer: Tokenizer, settings: Settings, threads: int) -> None:
        self.task = from_pairs(pairs)
        self._tokenizer, self._settings, self._threads = tokenizer, settings, threads
        self._queries = self._tokens(self.task.queries.to_pylist(), "query")
        self._documents = self._tokens(self.task.documents.to_pylist(), "document")
        self._fixed: Floats | None = None

    def fix_documents(self, vectors: Floats) -> None:
        """Let documents have these vectors, (m, d), whatever the table is."""
        self._fixed = vectors

    def _tokens(self, texts: Iterable[str], kind: str) -> Tokens:
        prompt = self._settings.prompts.get(kind, "")
        return self._tokenizer([prompt + text for text in texts], threads=self._threads)

    def score(self, table: Floats) -> float:
        """NDCG@10 of a table, (V, d) float32 and finite."""
        model = StaticModel(table, self._tokenizer, self._settings)
        documents = self._pooled(model, self._documents) if self._fixed is None else self._fixed
        scores = ranking_scores(
            self._pooled(model, self._queries), documents, self.task,
            metrics=(NDCG,), threads=self._threads,
        )  # fmt: skip
        return float(scores.metrics[NDCG])

    def _pooled(self, model: StaticModel, tokens: Tokens) -> Floats:
        parts = [tokens[slice(*bounds)] for bounds in executor.ranges(len(tokens), self._threads)]
        return np.concatenate(executor.run([partial(model.pool, part) for part in parts], self._threads))  # type: ignore[arg-type]

    def spacing(self, data: TrainingSet, recipe: Recipe, steps: int) -> int:
        """Steps between evaluations: a few times an epoch, fewer if they would take much of the time.

        It follows from the sizes of things alone, so that a resumed run evaluates where the whole one would
        have.

        Args:
            data: What is trained on.
            recipe: How.
            steps: Of the whole training.
        """
        d, batch = recipe.dim, min(recipe.batch, len(data))
        tokens = len(self._queries.ids) + len(self._documents.ids)
        evaluation = FIXED + d * (
            TABLE * self._tokenizer.vocabulary_size
            + POOL * tokens
            + SCORE * len(self._queries) * len(self._documents)
        )
        texts = batch * (1 + data.candidates.shape[1])
        entries = texts * len(data.bags.ids) / len(data.bags.totals)
        scores = batch * (texts - batch)
        step = d * (ENTRY * entries + PRODUCT * scores) + SOFTMAX * scores * len(recipe.levels)
        # the one before the first step is paid from the same purse
        affordable = round(float(SHARE * steps * step / evaluation)) - 1
        wanted = MOST * recipe.epochs
        return max(1, math.ceil(steps / max(1, min(affordable, wanted))))
