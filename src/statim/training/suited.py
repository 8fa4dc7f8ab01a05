"""A vocabulary that can read the texts: what the start's tokenizer knows of them is measured, and decides.

- ``usual``: it reads them; nothing changes.
- ``marks``: it strips accents that tell words apart. They are kept, and the missing characters get rows.
- ``learned``: it does not know the script. A vocabulary is learned from the texts (vocabulary.unigram). Its
  rows start from the teacher where that can read them, else from random numbers.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from statim.data.detect_task import Supervision
from statim.errors import InputError
from statim.teacher.teacher import Teacher
from statim.tokenizer.tokenizer import Tokenizer
from statim.training.initial_tables import random_table, rotated, unit_scale
from statim.training.options import TrainOptions
from statim.training.start import LEARNED, MARKS, USUAL, Start, start_from
from statim.vocabulary.characters import can_keep_marks, with_marks
from statim.vocabulary.coverage import Coverage, coverage, marked_share
from statim.vocabulary.pruning import is_byte
from statim.vocabulary.unigram import learn_unigram

log = logging.getLogger("statim")

MARKED = 0.01  # share of the words with marks, from which on these tell words apart
UNREAD = 0.25  # share of the letters that a vocabulary does not know, from which on one is learned
LOOKED_AT = 250  # texts of a column, where nothing but the warning follows from them
FOREIGN = 0.1  # from which on a person is warned

Floats = npt.NDArray[np.float32]


def suited_start(options: TrainOptions, train: Supervision, choice: str | None) -> Start:
    """The start that ``train`` is asked for, with a vocabulary that can read its texts.

    Args:
        options: What is asked for; ``start``, ``tokenizer``, ``accents`` and the vocabulary's growth count.
        train: What is trained on.
        choice: What an interrupted run chose, one of VOCABULARIES; None to measure.

    Raises:
        ModelError: There is no such model, teacher or tokenizer.
        InputError: ``accents`` does not suit the start.
    """
    columns = list(train.columns)
    keep = _keep(options, columns) if choice is None else choice != USUAL
    begun = start_from(options.start, options.tokenizer, train, options.progress, keep_marks=keep)
    if begun.source is None and options.tokenizer is None:
        return begun
    if begun.teacher is None:
        if options.accents is not None:
            raise InputError(
                f"accents is {options.accents!r}, but {begun.words} has a vocabulary of its own; leave it out"
            )
        _warn(begun, coverage(begun.tokenizer, columns, texts=LOOKED_AT))
        return begun
    return _for_teacher(begun, begun.teacher, options, train, choice, keep)


def _keep(options: TrainOptions, columns: Sequence[object]) -> bool:
    """Are marks kept?"""
    if options.accents in ("keep", "strip"):
        return options.accents == "keep"
    return marked_share(columns) >= MARKED


def _for_teacher(
    begun: Start, teacher: Teacher, options: TrainOptions, train: Supervision, choice: str | None, keep: bool
) -> Start:
    if options.accents == "strip" and not begun.tokenizer.strips_accents:
        raise InputError(f"accents is 'strip', but the tokenizer of {teacher.name} keeps them; leave it out")
    columns, found = list(train.columns), None
    if choice is None:
        found = coverage(begun.tokenizer, columns)
        free = options.start is None and options.accents != "strip"
        free = free and not (options.grow_words or options.grow_pairs or options.freeze)
        choice = USUAL
        if free and found.unread >= UNREAD:
            choice = LEARNED
        elif keep and can_keep_marks(begun.tokenizer):
            choice = MARKS
        if found.unread >= MARKED or choice != USUAL:
            log.info("%s reads the texts with %s: %s", teacher.name, found, _WORDS[choice])
    if choice == LEARNED:
        return _learned(begun, teacher, learn_unigram(columns))
    if choice == MARKS:
        return _marked(begun, teacher, train)
    _warn(begun, found or coverage(begun.tokenizer, columns))
    return begun


_WORDS = {
    USUAL: "its vocabulary stays as it is",
    MARKS: "accents are kept, and missing characters get rows",
    LEARNED: "a vocabulary is learned from them",
}


def _warn(begun: Start, found: Coverage) -> None:
    if found.unknown >= FOREIGN:
        log.warning(
            "%s does not know %.0f %% of the texts' letters; start from random, or from a teacher of their "
            "language", begun.words, 100 * found.unknown,
        )  # fmt: skip


def _marked(begun: Start, teacher: Teacher, train: Supervision) -> Start:
    """The start with a tokenizer that keeps marks."""
    marked = with_marks(begun.tokenizer, list(train.columns))
    assert begun.source is not None
    source = np.asarray(begun.source)
    if marked.new:
        scale = np.linalg.norm(source, axis=1).mean()
        rows, _ = _read(teacher, begun.tokenizer, marked.new, source.shape[1])
        source = np.concatenate([source, rows / np.linalg.norm(rows, axis=1, keepdims=True) * scale])
    words = f"{begun.words}, accents kept"
    return replace(begun, words=words, tokenizer=marked.tokenizer, source=source, vocabulary=MARKS)


def _learned(begun: Start, teacher: Teacher, tokenizer: Tokenizer) -> Start:
    """A start with a vocabulary of the texts' own."""
    tokens = sorted(tokenizer.vocabulary, key=tokenizer.vocabulary.__getitem__)
    assert begun.source is not None
    table, read = _read(teacher, begun.tokenizer, tokens, begun.source.shape[1])
    if read.any():
        turned = rotated(np.concatenate([np.asarray(begun.source), table[read] * _length(begun.source)]))
        table[read] = unit_scale(turned[len(begun.source) :])
    words = (
        f"{len(tokens):,} tokens learned from the texts, {read.sum():,} with the vectors of {teacher.name}"
    )
    return replace(begun, words=words, tokenizer=tokenizer, source=table, vocabulary=LEARNED)


def _length(vectors: Floats) -> np.float32:
    return np.float32(np.linalg.norm(vectors, axis=1).mean())


def _read(
    teacher: Teacher, tokenizer: Tokenizer, texts: Sequence[str], dim: int
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The teacher's vectors of the texts its tokenizer reads, random rows for others; and which it reads."""
    tokens = tokenizer(list(texts), threads=1)
    unknown = np.zeros(len(texts), bool)
    if tokenizer.unknown_id is not None:
        owners = np.repeat(np.arange(len(texts)), tokens.lengths)
        unknown[owners[tokens.ids == tokenizer.unknown_id]] = True
    letters = np.array([len(text) for text in texts])
    spelled = np.array([is_byte(text) for text in texts], bool)  # a byte's name is no text
    read = ~unknown & ~spelled & (tokens.lengths > 0) & ((tokens.lengths < letters) | (letters == 1))
    table = random_table(len(texts), dim, 0)
    chosen = [text for text, known in zip(texts, read.tolist(), strict=True) if known]
    if chosen:
        table[read] = teacher.encode(chosen)
    return table, read
