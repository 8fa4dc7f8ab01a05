"""A SentenceTransformer's static table trained in place: what its own trainer does, at statim's speed."""

import statim.training.needs_torch  # noqa: F401

# isort: split

import hashlib
import sys
from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt
import tokenizers
import torch

from statim import threads as executor
from statim.data.detect_task import read_supervision
from statim.data.documents.corpus import Corpus
from statim.errors import InputError, ModelError
from statim.formats.from_sentence_transformers import NORMALIZE, STATIC
from statim.formats.parts import Parts
from statim.option import documented
from statim.progress import Progress
from statim.settings import Settings
from statim.tokenizer.tokenizer import Tokenizer
from statim.training.datasets.cutting import Cutting
from statim.training.datasets.sets import training_data
from statim.training.hyperparameters import LOSSES, TAUGHT, RecipeOptions
from statim.training.initial_tables import unit_scale
from statim.training.keywords import LoopKeywords
from statim.training.loop.trainer import begin, fit
from statim.training.recipe import Recipe


@documented(RecipeOptions, LoopKeywords)
def fit_sentence_transformer(
    model: Any,
    dataset: Any,
    *,
    loss: str = "contrastive",
    columns: Sequence[str] | None = None,
    levels: Sequence[int] | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = False,
    **options: Unpack[LoopKeywords],
) -> Any:
    """Train the StaticEmbedding of a ``SentenceTransformer`` and write its table back into it.

    The losses are those of sentence-transformers: MultipleNegativesRankingLoss (without duplicates as
    negatives), TripletLoss with cosine distance, CoSENTLoss, CosineSimilarityLoss, each inside MatryoshkaLoss
    where ``levels`` are given. Texts are cut as the model cuts them; prompts are not put before them. The row
    of unknown tokens is trained as any other, but stays zero where it is.

    Learning rates are relative to a table with entries of root mean square 1: the table is brought to that
    size for the training, and back to its own afterwards. The losses see cosines only, so this changes
    nothing but what the rate means; vectors keep about the length they had.

    Args:
        model: A ``SentenceTransformer`` whose modules are a StaticEmbedding and perhaps a Normalize.
        dataset: A ``datasets.Dataset``, list of dicts, table (Arrow, pandas, Polars) or file; see
            ``statim.data.read_pairs``.
        loss: ``contrastive`` or ``triplet`` (pairs, the latter with negatives), ``cosent`` or ``cosine``
            (scored pairs), ``classes`` (labelled texts: contrastive, with a text of the same label as the
            positive).
        columns: Names of the columns in sentence-transformers' order: anchor, positive and negatives; two
            texts and their score; or text and label. Guessed by default.
        levels: Matryoshka dimensions; by default the full dimension alone.
        seed: Seed of the order and all random numbers.
        threads: Threads; see statim.threads.
        progress: Show a progress bar on a terminal.
        batch: Pairs (or texts) per step; by default derived from their number.
        epochs: Passes over the data; by default 3, more for few pairs, 1 from a million on.
        learning_rate: Adam's peak learning rate, for entries of about 1 (see above); by default 0.1
            (contrastive, classes) or 0.05.
        weights: Loss weight of each Matryoshka dimension; by default equal.
        scale: Multiply cosines by this (contrastive, classes, cosent); by default 20, for cosent 4.
        both_directions: Also train from positives to anchors (contrastive, classes).
        triplet_margin: Margin of the triplet loss, in cosines; 0.2 by default.
        false_negative_margin: Ignore candidates whose cosine exceeds the positive's by more than this
            (contrastive, classes); by default all are negatives.
        precision: What is rounded: ``int8``, ``bf16`` or ``fp32``, see Recipe. By default ``auto``: ``int8``
            for contrastive losses where the processor multiplies bytes quickly, else ``bf16``.
        schedule: ``linear`` (default), ``cosine`` or ``constant``: the learning rate after warm-up.
        warmup: Share of the steps in which it rises; 0.1 by default.
        weight_decay: Decoupled weight decay (AdamW) of embeddings that occur in the data, for entries of
            about 1; 0 by default.
        token_dropout: Probability with which a text goes without one of its tokens for a step; 0 by default.
        clip: Clip the gradient to this norm; 1 by default.

    Returns:
        ``model`` itself, its table trained; of the same dtype and on the same device. If anything is raised
        it is as it was.

    Raises:
        ModelError: ``model`` is of another kind, or its table is zero or too large for its dtype.
        DataError: The data cannot be read, or there are too few rows.
        InputError: An argument is out of range, or training diverged.
    """
    embedding, backend = _static_parts(model)
    known = [name for name in LOSSES if name not in TAUGHT]  # there is no teacher here
    if loss not in known:
        raise InputError(f"loss is {loss!r}; it must be one of {', '.join(known)}")
    table = embedding.weight.detach().to("cpu", torch.float32, copy=True).numpy()
    tokenizer = _AsItCuts(backend, table)
    Parts(table, tokenizer, Settings())  # fit together, and finite
    size = np.sqrt(np.mean(np.square(table, dtype=np.float64)))
    if size == 0:
        raise ModelError(
            "the model's table is zero everywhere, which no gradient changes; start from random numbers"
        )
    given = read_supervision(dataset, kind=LOSSES[loss], **_roles(columns, LOSSES[loss]))
    if isinstance(given, Corpus):
        raise InputError("the data are documents without pairs; give pairs, or train with statim.train")
    recipe = Recipe.make(
        len(given), table.shape[1], levels=levels or [table.shape[1]], loss=loss, seed=seed, **options
    )
    workers = executor.count(threads)
    data = training_data(given, tokenizer, threads=workers)
    optimizer = begin(unit_scale(table), data, recipe, workers)
    rows = min(recipe.batch, len(data))
    with Progress("train", total=(len(optimizer.rates) - 1) * rows, unit=given.unit, show=progress) as bar:
        fit(data, optimizer, recipe, on_step=lambda _, value: bar.advance(rows, f"loss {value:.3f}"))
    trained = optimizer.finish() * np.float32(size)
    trained[optimizer.last == 0] = table[optimizer.last == 0]  # what never occurred stays, to the bit
    written = torch.from_numpy(trained).to(embedding.weight.dtype)
    if not torch.isfinite(written).all():
        raise ModelError(f"the trained table is too large for {written.dtype}; train the model in float32")
    with torch.no_grad():
        embedding.weight.copy_(written)
    return model


def _static_parts(model: Any) -> tuple[torch.nn.EmbeddingBag, tokenizers.Tokenizer]:
    """The table and the tokenizer of a static model.

    Raises:
        ModelError: It is none.
    """
    library = sys.modules.get("sentence_transformers")
    if library is None or not isinstance(model, library.SentenceTransformer):
        raise ModelError(f"the model is a {type(model).__name__}; give a SentenceTransformer of a {STATIC}")
    modules = list(model)
    if not modules or not _is(modules[0], STATIC):
        first = type(modules[0]).__name__ if modules else "nothing"
        raise ModelError(
            f"the model's first module is {first}; statim trains a {STATIC} (and can start from other "
            "models: statim.train)"
        )
    for module in modules[1:]:
        names = {getattr(module, f"module_{way}_name", "sentence_embedding") for way in ("input", "output")}
        if len(modules) > 2 or not _is(module, NORMALIZE) or names != {"sentence_embedding"}:
            raise ModelError(
                f"the model has a {type(module).__name__} after its {STATIC}; at most a {NORMALIZE} of "
                "the sentence embedding may be there"
            )
    embedding = modules[0].embedding
    if embedding.mode != "mean" or embedding.max_norm is not None or not embedding.weight.is_floating_point():
        raise ModelError(f"the model's {STATIC} does not simply average rows of floating-point numbers")
    return embedding, modules[0].tokenizer


def _is(module: Any, name: str) -> bool:
    """Whether a module is sentence-transformers' own of that name, which has stood in several places."""
    kind = type(module)
    return kind.__name__ == name and kind.__module__.partition(".")[0] == "sentence_transformers"


def _roles(columns: Sequence[str] | None, kind: str) -> dict[str, Any]:
    """What columns given in sentence-transformers' order are."""
    if columns is None:
        return {}
    wanted = {"pairs": "anchor, positive and negatives", "scored pairs": "two texts and a score"}
    names = list(columns)
    if (
        isinstance(columns, str)
        or len(names) < 2
        or (len(names) != (2 if kind == "labelled texts" else 3) and kind != "pairs")
    ):
        raise InputError(f"columns is {columns!r}; name {wanted.get(kind, 'text and label')}, in this order")
    if kind == "pairs":
        return {"anchor": names[0], "positive": names[1], "negative": names[2:]}
    if kind == "scored pairs":
        return {"anchor": names[0], "positive": names[1], "score": names[2]}
    return {"anchor": names[0], "label": names[1]}


class _AsItCuts(Cutting):
    """A model's tokenizer as sentence-transformers uses it: its truncation, unknown tokens counted."""

    def __init__(self, backend: tokenizers.Tokenizer, table: npt.NDArray[np.float32]) -> None:
        truncation = backend.truncation or {}
        if truncation.get("direction", "right").lower() != "right":
            raise ModelError(
                "the model's tokenizer cuts long texts at their beginning; statim cuts at the end only "
                "(direction right)"
            )
        super().__init__(Tokenizer(backend), truncation.get("max_length"))
        unknown = super().unknown_id
        self._frozen = None if unknown is None or table[unknown].any() else unknown

    @property
    def unknown_id(self) -> int | None:
        """The id whose row is not trained: the unknown token's, where it is zero."""
        return self._frozen

    @property
    def hash(self) -> str:
        """A hash of everything that decides the ids, hexadecimal."""
        return hashlib.sha256(f"{super().hash} {self._frozen}".encode()).hexdigest()
