"""Where a table starts: random numbers, a teacher's view of each token, or an earlier model."""

import contextlib
import dataclasses
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from statim import cache
from statim.data.detect_task import Supervision
from statim.data.documents.plain import PlainTexts
from statim.data.pairs.pairs import Pairs
from statim.errors import InputError, ModelError
from statim.model import StaticModel
from statim.settings import Settings
from statim.teacher import DEFAULT_TEACHER, Teacher
from statim.tensors import load_tensors, save_tensors
from statim.tokenizer.tokenizer import Tokenizer
from statim.training.datasets.cutting import as_cut_by
from statim.training.datasets.sets import TrainingData
from statim.training.recipe import Recipe
from statim.vocabulary import Growth, Pruned, grow, learn_wordpiece, prune

log = logging.getLogger("statim")

SIF = 1e-3  # tokens more frequent than this weigh less than half (Arora et al., 2017)
WORDS = 10_000  # that a teacher's vocabulary grows by; see benchmarks/vocabulary.py
PAIRS = 20_000  # of words, such as "how many", likewise of texts that are distilled before the pairs; see benchmarks/RESULTS.md
BLOCK = 4096  # vectors that are added to a covariance at a time
FILL = 0.1  # size of the random columns that widen a table, relative to its own

Floats = npt.NDArray[np.float32]


def random_table(vocabulary: int, dim: int, seed: int) -> Floats:
    """(V, d) float32 of independent normal numbers of variance 1."""
    return np.random.Generator(np.random.Philox(seed)).standard_normal((vocabulary, dim), np.float32)


def token_vectors(teacher: Teacher, *, progress: bool = False) -> Floats:
    """The teacher's vector of each token of its vocabulary by itself, (V, teacher's d) float32; computed once, then cached."""

    def compute() -> Floats:
        size = max(teacher.tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        return teacher.embed_tokens(np.arange(size), progress=progress)

    return _cached(teacher, "", compute)


def _cached(teacher: Teacher, kind: str, compute: Callable[[], Floats]) -> Floats:
    """What is made of a teacher once: from the cache, memory-mapped, or computed and put there."""
    name = hashlib.sha256(f"{teacher.hash}{kind}".encode()).hexdigest()[:32]
    path = cache.folder("starts") / f"{name}.safetensors"
    with contextlib.suppress(ModelError, KeyError):  # it is not there, or damaged
        return np.asarray(load_tensors(path)[0]["vectors"], np.float32)
    vectors = compute()
    with cache.writing():
        save_tensors(path, {"vectors": vectors}, {"teacher": teacher.name})
    return vectors


def principal_axes(moment: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The eigenvectors of a symmetric matrix (D, D) as columns, (D, D), those of the largest values first."""
    values, axes = np.linalg.eigh(moment)
    axes = axes[:, np.argsort(-values)]
    # an eigenvector's sign is arbitrary: fix it, so that machines agree
    signs = np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    return np.asarray(axes * signs)


def rotated(vectors: Floats) -> Floats:
    """Vectors (V, D), centred and rotated to their principal axes, those of the largest variance first."""
    centred = vectors - vectors.mean(axis=0)
    covariance = np.zeros((vectors.shape[1], vectors.shape[1]))
    for start in range(0, len(centred), BLOCK):
        block = centred[start : start + BLOCK]
        covariance += block.T @ block
    return np.asarray(centred @ principal_axes(covariance / len(centred)).astype(np.float32))


def distilled_table(vectors: Floats, frequencies: npt.NDArray[np.float64], dim: int, seed: int) -> Floats:
    """A teacher's token vectors as a static table: centred, rotated to principal axes, weighted by frequency.

    The axes are ordered by variance, so prefixes are already good (Matryoshka). Frequent tokens weigh less: a / (a + p), smooth
    inverse frequency (Arora et al., 2017). Dimensions beyond the teacher's are small random numbers for training to use.

    Args:
        vectors: (V, D) from ``token_vectors``.
        frequencies: (V,) how often each token occurs in the corpus (counts).
        dim: Dimensions wanted, d.
        seed: For the random columns.

    Returns:
        (V, d) float32 with entries of root mean square 1.
    """
    return _weighted(rotated(vectors), frequencies, dim, seed)


def _weighted(turned: Floats, frequencies: npt.NDArray[np.float64], dim: int, seed: int) -> Floats:
    """``distilled_table`` of vectors that are rotated already."""
    probabilities = (frequencies + 0.5) / (frequencies + 0.5).sum()
    table = turned[:, :dim] * (SIF / (SIF + probabilities))[:, None].astype(np.float32)
    return widen(unit_scale(table), dim, seed)


def widen(table: Floats, dim: int, seed: int) -> Floats:
    """The first ``dim`` dimensions of a table, or all of them and small random ones behind."""
    if dim <= table.shape[1]:
        return np.ascontiguousarray(table[:, :dim])
    extra = random_table(len(table), dim - table.shape[1], seed) * np.float32(
        FILL * np.sqrt(np.mean(np.square(table)))
    )
    return np.concatenate([table, extra], axis=1)


def unit_scale(table: Floats) -> Floats:
    """The table scaled to entries of root mean square 1, which learning rates are relative to."""
    size = np.sqrt(np.einsum("ij,ij->i", table, table).sum(dtype=np.float64) / table.size)
    return table * np.float32(1 / size if size > 0 else 1)


def with_lengths(table: Floats, power: float) -> Floats:
    """The table (V, d) with the lengths of its rows to a power, and as much in the mean; a zero row stays zero."""
    if power == 1:
        return table
    lengths = np.linalg.norm(table, axis=1)
    there = lengths > 0
    wanted = np.where(there, lengths, 1) ** power
    wanted *= lengths[there].mean() / wanted[there].mean()
    return np.asarray(table * (wanted / np.where(there, lengths, 1))[:, None], np.float32)


@dataclass
class Start:
    """What training starts from, before the pairs' tokens are counted.

    Attributes:
        words: For a person.
        tokenizer: The model's.
        settings: The model's.
        source: An earlier table, or a teacher's token vectors; None for a random start.
        teacher: The teacher, if there is one.
        grown: The growth of the vocabulary, if it has grown; ``source`` has no rows for its new ids.
        pruned: What was left of the vocabulary after that, if it was pruned; ``source`` has rows for all.
    """

    words: str
    tokenizer: Tokenizer
    settings: Settings
    source: Floats | None
    teacher: Teacher | None = None
    grown: Growth | None = None
    pruned: Pruned | None = None

    @property
    def new_rows(self) -> npt.NDArray[np.int64] | None:
        """The ids of the rows that the vocabulary has grown by."""
        if self.grown is None:
            return None
        kept = self._kept()
        return np.flatnonzero(kept >= self.grown.first)

    @property
    def cutting(self) -> Tokenizer:
        """The tokenizer with the limits of the model: what training tokenizes with."""
        return as_cut_by(self.settings, self.tokenizer)

    def _kept(self) -> npt.NDArray[np.int64]:
        """The id that each of the tokenizer's had before pruning."""
        return np.arange(self.tokenizer.vocabulary_size) if self.pruned is None else self.pruned.kept

    @property
    def dim(self) -> int | None:
        """Dimensions of the source."""
        return None if self.source is None else int(self.source.shape[1])

    @property
    def hash(self) -> str:
        """The same for the same start: of the tokenizer and what the table is made from."""
        digest = hashlib.sha256(self.cutting.hash.encode())
        if self.teacher is not None:
            digest.update(self.teacher.hash.encode())
        elif self.source is not None:
            digest.update(np.ascontiguousarray(self.source).data)
        if self.new_rows is not None:
            digest.update(np.asarray(self.new_rows, np.int64).tobytes())
        return digest.hexdigest()

    def table(self, data: TrainingData, recipe: Recipe) -> Floats:
        """The table to train, (V, recipe.dim), of which the unknown token's row is zero."""
        kept, grown = self._kept(), self.grown
        whole = len(kept) if self.pruned is None else self.pruned.before
        size = whole if grown is None else grown.first
        if self.source is None:
            table = random_table(size, recipe.dim, recipe.seed)
        elif self.teacher is None:
            table = widen(unit_scale(self.source[:size]), recipe.dim, recipe.seed)
        else:
            frequencies = np.zeros(whole)
            frequencies[kept] = data.bags.frequencies(len(kept))
            turned = self._turned(self.source, grown)
            before = frequencies if grown is None else grown.as_before(frequencies, len(turned))
            table = _weighted(turned, before, recipe.dim, recipe.seed)
        if grown is not None:
            table = grown.extended(table)
        if self.pruned is not None:
            table = table[kept]
        if self.tokenizer.unknown_id is not None:
            table[self.tokenizer.unknown_id] = 0
        return table

    def row_rates(self, freeze: Sequence[str], new_rows_rate: float) -> Floats | None:
        """What each row's rate is multiplied by, (V,): 0 for tokens to freeze; None where all are 1.

        Raises:
            InputError: The tokenizer does not have a token, or there are no new rows to have another rate.
        """
        known = self.tokenizer.vocabulary
        unknown = [token for token in freeze if token not in known]
        if unknown:
            raise InputError(
                f"freeze names {len(unknown):,} token{'s' if len(unknown) > 1 else ''} that the tokenizer of {self.words} does not have, "
                f"the first {unknown[0]!r:.60}; name tokens as its vocabulary writes them"
            )
        if new_rows_rate != 1 and self.new_rows is None:
            raise InputError(
                f"new_rows_rate is {new_rows_rate:g}, but {self.words} has no new rows beside old ones; leave it out"
            )
        if not len(freeze) and (new_rows_rate == 1 or self.new_rows is None):
            return None
        rates = np.ones(self.tokenizer.vocabulary_size, np.float32)
        if self.new_rows is not None:
            rates[self.new_rows] = new_rows_rate
        rates[[known[token] for token in freeze]] = 0
        return rates

    def _turned(self, vectors: Floats, grown: Growth | None) -> Floats:
        """The teacher's vectors of tokens, and as long ones of the new words, which it reads whole (1 ms a word, then cached); rotated."""
        assert self.teacher is not None
        if grown is None or not grown.words:
            return _cached(self.teacher, " rotated", partial(rotated, vectors))
        words = np.asarray(self.teacher.encode(grown.texts[: grown.words]), np.float32)
        return rotated(np.concatenate([vectors, words * np.linalg.norm(vectors, axis=1).mean()]))


def start_from(start: Any, tokenizer: Any, pairs: Supervision, progress: bool) -> Start:
    """What ``train`` was asked to start from; see there.

    Raises:
        ModelError: There is no such model, teacher or tokenizer.
    """
    if start is None:
        try:
            return _from_teacher(Teacher.load(DEFAULT_TEACHER), progress)
        except (ModelError, ImportError) as reason:
            log.info("no teacher, so a random start: %s", reason)
            start = "random"
    if isinstance(start, str) and start == "random":
        chosen = _tokenizer(tokenizer, pairs)
        return Start("a random start", chosen, Settings(), None)
    if isinstance(start, StaticModel):
        return _from_model(start, "a static model")
    try:
        return _from_model(StaticModel.load(start), f"the static model {start}")
    except ModelError:
        return _from_teacher(Teacher.load(str(start)), progress)


def with_vocabulary(
    start: Start,
    given: Supervision,
    *,
    words: int | None,
    pairs: int | None,
    prune: bool | None,
    threads: int,
    counted: Supervision | None = None,
) -> Start:
    """The start with the vocabulary that ``train`` was asked for: a teacher's grows by WORDS where pairs are trained on.

    Where ``counted`` is given, it grows by what is frequent there, and by PAIRS too.

    Raises:
        InputError: A number is out of range, or the start's tokenizer cannot be grown or pruned as asked.
        DataError: No word or pair is frequent, but some were asked for.
    """
    usual = WORDS if start.teacher is not None and isinstance(given, (Pairs, PlainTexts)) else 0
    usual_pairs = PAIRS if usual and counted is not None else 0
    more = {"words": usual if words is None else words, "pairs": usual_pairs if pairs is None else pairs}
    if any(more.values()):
        try:
            start = grow_start(start, counted or given, threads=threads, **more)
        except InputError as reason:
            if words or pairs:
                raise
            log.info("the vocabulary stays as it is: %s", reason)
    return prune_start(start, given, threads) if prune else start


def grow_start(start: Start, given: Supervision, *, words: int, pairs: int, threads: int) -> Start:
    """The start with rows for the most frequent words and pairs of words of the texts that are trained on.

    Arguments are those of ``vocabulary.grow``.

    Raises:
        InputError: A number is out of range, or the start's tokenizer cannot be grown.
        DataError: No word or pair is frequent.
    """
    grown = grow(start.tokenizer, list(given.columns), words=words, pairs=pairs, threads=threads)
    new = f"{grown.words:,} new words" + (f" and {len(grown) - grown.words:,} pairs" if pairs else "")
    log.info("%s, %s: %s rows", start.words, new, f"{grown.tokenizer.vocabulary_size:,}")
    return dataclasses.replace(start, words=f"{start.words}, {new}", tokenizer=grown.tokenizer, grown=grown)


def prune_start(start: Start, given: Supervision, threads: int) -> Start:
    """The start without the rows that never occur in the texts that are trained on; see vocabulary.prune.

    Raises:
        InputError: The start's tokenizer cannot be pruned.
    """
    pruned = prune(start.tokenizer, list(given.columns), threads=threads)
    log.info("%s", pruned)
    return dataclasses.replace(start, tokenizer=pruned.tokenizer, pruned=pruned)


def _from_model(model: StaticModel, words: str) -> Start:
    """The start keeps what decides which part of a text counts; its vectors' lengths and unknown tokens are the training's."""
    kept = {name: getattr(model.settings, name) for name in ("prompts", "max_tokens", "max_characters")}
    return Start(words, model.tokenizer, Settings(**kept), np.array(model.table))


def _from_teacher(teacher: Teacher, progress: bool) -> Start:
    vectors = token_vectors(teacher, progress=progress)
    settings = Settings(base_model=teacher.name)
    return Start(
        f"{teacher.name}, distilled", Tokenizer(teacher.tokenizer, copied=False), settings, vectors, teacher
    )


def _tokenizer(given: Any, pairs: Supervision) -> Tokenizer:
    if isinstance(given, Tokenizer):
        return given
    if given is None:
        return learn_wordpiece(list(pairs.columns))
    path = Path(given)
    file = path / "tokenizer.json" if path.is_dir() else path
    if file.is_file():
        return Tokenizer.from_json(file.read_bytes())
    return StaticModel.load(given).tokenizer
