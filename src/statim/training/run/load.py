"""Load a training's data and plain texts, divided into training and held-out parts."""

import logging
from dataclasses import dataclass
from typing import Any

from statim.data.detect_task import Supervision, read_supervision
from statim.data.documents.corpus import Corpus
from statim.data.documents.own_sentences import own_sentences, without
from statim.data.documents.plain import PlainTexts, read_plain
from statim.data.files.text_file import read_as
from statim.data.pairs.pairs import Pairs
from statim.data.pairs.python_docs import python_docs
from statim.data.pairs_from_documents import check_kinds, split_into_pairs
from statim.data.split import Split
from statim.errors import InputError
from statim.progress import Clock
from statim.training.datasets import per_set
from statim.training.datasets.sets import usual_loss
from statim.training.hyperparameters import LOSSES
from statim.training.options import TrainOptions
from statim.training.run import heldout

log = logging.getLogger("statim")

OWN = "pairs"  # in the place of texts to distil: those of the pairs themselves
SENTENCES, MOST_SENTENCES = "sentences", 350_000  # likewise: sentences drawn from them


@dataclass(frozen=True, eq=False)
class Loaded:
    """What a training reads.

    Attributes:
        whole: All of the data that may be used.
        parts: The same divided; of documents, the pairs made of them.
        plain: Texts to distil on beside it; None where there are none, or where they are the pairs' own.
        drawn: What ``plain`` is a part of: all sentences that were drawn, those of held-out texts too. Else
            the same.
        read: How many pairs (or texts) there were before limits.
        shares: The weights of sets, none where all are alike.
        limits: The limits of sets, none where there are none.
        loss: The loss to train with; by default it follows from the columns.
    """

    whole: Supervision
    parts: Split[Any]
    plain: PlainTexts | None
    drawn: PlainTexts | None
    read: int
    shares: tuple[float, ...]
    limits: tuple[int, ...]
    loss: str

    def sizes(self) -> dict[str, int]:
        """How many pairs (or texts) were read, are trained on and are held out."""
        parts = self.parts
        return {
            "read": self.read, "train": len(parts.train), "development": len(parts.development),
            "test": len(parts.test), "moved": parts.moved,
        }  # fmt: skip


def load(options: TrainOptions, clock: Clock) -> Loaded:
    """Read the data that the options name, and hold some out.

    Raises:
        DataError: Something cannot be read, or there is too little.
        InputError: The options do not fit what was read.
    """
    how = (options.delimiter, options.encoding)
    given, loss = read_as(options.data, *how), options.loss
    source = python_docs(options.packages) if options.packages else given
    own = options.distil is None or is_word(options.distil, OWN, SENTENCES)
    plain = drawn = None if own else read_plain(read_as(options.distil, *how))
    if source is None:
        source, loss = plain, "distillation"
    names = {name: getattr(options, name) for name in ("anchor", "positive", "score", "label")}
    kind = "documents" if options.make_pairs else loss and LOSSES[loss]
    found = read_supervision(source, kind=kind, negative=options.negative, **names)
    log.info("%s", found.report)
    loss = loss or usual_loss(found)
    seed, kind, read = options.seed or 0, LOSSES[loss], len(found)
    shares = per_set.weights_of(found, options.set_weights or {})
    limits = per_set.limits_of(found, options.set_limits or {})
    whole = per_set.limited(found, limits, seed)
    clock("read")
    apart = [read_as(one, *how) for one in (options.heldout, options.development)]
    parts = heldout.hold_out(whole, *apart, seed=seed, kind=kind, names=names)
    heldout.check(parts.test)
    if isinstance(whole, Corpus):
        parts = split_into_pairs(parts, check_kinds(options.make_pairs), seed=seed)
    if is_word(options.distil, SENTENCES):
        drawn = _sentences(whole)
        plain = without(drawn, [parts.development, parts.test])
        log.info("%s sentences and passages to distil on were drawn from the pairs' texts", f"{len(plain):,}")
    clock("split")
    return Loaded(whole, parts, plain, drawn, read, shares, limits, loss)


def is_word(distil: object, *words: str) -> bool:
    """Does one of these words stand in the place of texts to distil?"""
    return isinstance(distil, str) and distil in words


def _sentences(whole: Supervision) -> PlainTexts:
    """Sentences of all pairs, the same ones for every split and seed, since a teacher reads them for long."""
    if not isinstance(whole, Pairs):
        raise InputError(
            f"distil is {SENTENCES!r}, which are drawn from pairs; these are {whole.unit}: name a file "
            "of texts"
        )
    return own_sentences(whole, MOST_SENTENCES, seed=0)
