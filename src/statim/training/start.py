"""Where a table starts: random numbers, a teacher's view of each token, or an earlier model."""

import dataclasses
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.counted import counted
from statim.data.detect_task import Supervision
from statim.data.documents.plain import PlainTexts
from statim.data.pairs.pairs import Pairs
from statim.errors import InputError, ModelError
from statim.model import StaticModel
from statim.settings import Settings
from statim.teacher.folder import DEFAULT_TEACHER
from statim.teacher.teacher import Teacher
from statim.tokenizer.tokenizer import Tokenizer
from statim.training.datasets.cutting import as_cut_by
from statim.training.datasets.sets import TrainingData
from statim.training.initial_tables import (
    cached,
    random_table,
    rotated,
    token_vectors,
    unit_scale,
    weighted,
    widen,
)
from statim.training.recipe import Recipe
from statim.vocabulary import Growth, Pruned, grow, learn_unigram, learn_wordpiece, prune

log = logging.getLogger("statim")

WORDS = 10_000  # that a teacher's vocabulary grows by; see benchmarks/vocabulary.py
# of words, such as "how many", likewise of texts that are distilled before the pairs; see
# benchmarks/RESULTS.md
PAIRS = 20_000
USUAL, MARKS, LEARNED = "usual", "marks", "learned"  # vocabularies; see suited.py
VOCABULARIES = (USUAL, MARKS, LEARNED)

Floats = npt.NDArray[np.float32]


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
        vocabulary: What became of the vocabulary, one of VOCABULARIES. A learned one's ``source`` is a table.
        model: The earlier static model, if it starts from one.
    """

    words: str
    tokenizer: Tokenizer
    settings: Settings
    source: Floats | None
    teacher: Teacher | None = None
    grown: Growth | None = None
    pruned: Pruned | None = None
    vocabulary: str = USUAL
    model: StaticModel | None = None

    @property
    def new_rows(self) -> npt.NDArray[np.int64] | None:
        """The ids of the rows that the vocabulary has grown by."""
        if self.grown is None:
            return None
        kept = self._kept()
        return np.flatnonzero(kept >= self.grown.first)

    @property
    def old_rows(self) -> int | None:
        """How many rows come before those that the vocabulary has grown by; None where it has not."""
        new = self.new_rows
        return None if new is None or not len(new) else int(new[0])

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
        elif self.teacher is None or self.vocabulary == LEARNED:
            table = widen(unit_scale(self.source[:size]), recipe.dim, recipe.seed)
        else:
            frequencies = np.zeros(whole)
            frequencies[kept] = data.bags.frequencies(len(kept))
            turned = self._turned(self.source, grown)
            before = frequencies if grown is None else grown.as_before(frequencies, len(turned))
            table = weighted(turned, before, recipe.dim, recipe.seed)
        if grown is not None:
            table = grown.extended(table)
        if self.pruned is not None:
            table = table[kept]
        if self.tokenizer.unknown_id is not None:
            table[self.tokenizer.unknown_id] = 0
        return table

    def row_rates(self, freeze: Sequence[str], new_rows_rate: float, rare_rows: float = 0.0) -> Floats | None:
        """What each row's rate is multiplied by, (V,): 0 for tokens to freeze; None where all are 1.

        With ``rare_rows`` they are not all 1 once ``rarer_slower`` has seen the texts.

        Raises:
            InputError: The tokenizer does not have a token, or there are no new rows to have another rate.
        """
        known = self.tokenizer.vocabulary
        unknown = [token for token in freeze if token not in known]
        if unknown:
            raise InputError(
                f"freeze names {len(unknown):,} token{'s' if len(unknown) > 1 else ''} that the "
                f"tokenizer of {self.words} does not have, "
                f"the first {unknown[0]!r:.60}; name tokens as its vocabulary writes them"
            )
        if new_rows_rate != 1 and self.new_rows is None:
            raise InputError(
                f"new_rows_rate is {new_rows_rate:g}, but {self.words} has no new rows beside old "
                "ones; leave it out"
            )
        if not len(freeze) and not rare_rows and (new_rows_rate == 1 or self.new_rows is None):
            return None
        rates = np.ones(self.tokenizer.vocabulary_size, np.float32)
        if self.new_rows is not None:
            rates[self.new_rows] = new_rows_rate
        rates[[known[token] for token in freeze]] = 0
        return rates

    def _turned(self, vectors: Floats, grown: Growth | None) -> Floats:
        """The teacher's vectors of tokens and new words, rotated; it reads a word in 1 ms, then caches."""
        assert self.teacher is not None
        if grown is None or not grown.words:
            if self.vocabulary == MARKS:
                return rotated(vectors)
            return cached(self.teacher, " rotated", partial(rotated, vectors))
        words = np.asarray(self.teacher.encode(grown.texts[: grown.words]), np.float32)
        return rotated(np.concatenate([vectors, words * np.linalg.norm(vectors, axis=1).mean()]))


def start_from(
    start: Any, tokenizer: Any, pairs: Supervision, progress: bool, *, keep_marks: bool = False
) -> Start:
    """What ``train`` was asked to start from; see there. A vocabulary learned for it may ``keep_marks``.

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
        chosen = _tokenizer(tokenizer, pairs, keep_marks)
        learned = tokenizer is None and keep_marks
        return Start("a random start", chosen, Settings(), None, vocabulary=LEARNED if learned else USUAL)
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
    needed: bool = True,
) -> Start:
    """The start with the vocabulary asked for: a teacher's grows by WORDS if pairs are trained on.

    Where ``counted`` is given, it grows by what is frequent there, and by PAIRS too. Unless growing is
    ``needed``, a vocabulary that cannot grow stays as it is.

    Raises:
        InputError: A number is out of range, or the start's tokenizer cannot be grown or pruned as asked.
        DataError: No word or pair is frequent, but some were asked for.
    """
    taught = start.teacher is not None and start.vocabulary != LEARNED
    usual = WORDS if taught and isinstance(given, (Pairs, PlainTexts)) else 0
    usual_pairs = PAIRS if usual and counted is not None else 0
    more = {"words": usual if words is None else words, "pairs": usual_pairs if pairs is None else pairs}
    if any(more.values()):
        try:
            start = grow_start(start, counted or given, threads=threads, **more)
        except InputError as reason:
            if needed and (words or pairs):
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
    new = counted(grown.words, "new words")
    new += f" and {counted(len(grown) - grown.words, 'pairs')}" if pairs else ""
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
    """Keep what decides which part of a text counts; lengths and unknown tokens are the training's."""
    kept = {name: getattr(model.settings, name) for name in ("prompts", "max_tokens", "max_characters")}
    return Start(words, model.tokenizer, Settings(**kept), np.array(model.table), model=model)


def _from_teacher(teacher: Teacher, progress: bool) -> Start:
    vectors = token_vectors(teacher, progress=progress)
    settings = Settings(base_model=teacher.name)
    return Start(
        f"{teacher.name}, distilled", Tokenizer(teacher.tokenizer, copied=False), settings, vectors, teacher
    )


def _tokenizer(given: Any, pairs: Supervision, keep_marks: bool) -> Tokenizer:
    if isinstance(given, Tokenizer):
        return given
    if given is None:
        return (learn_unigram if keep_marks else learn_wordpiece)(list(pairs.columns))
    path = Path(given)
    file = path / "tokenizer.json" if path.is_dir() else path
    if file.is_file():
        return Tokenizer.from_json(file.read_bytes())
    return StaticModel.load(given).tokenizer
