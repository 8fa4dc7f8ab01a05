"""A model kept fresh: trained on with new pairs without forgetting the old ones; all of ``statim update``.

Only what the new pairs say should change. An elastic pull keeps each embedding near the old one (decoupled
weight decay towards the start, see kernels.training.rows.catch_up), replayed old pairs do where there are
some, and embeddings of tokens that do not occur stay as they are, to the bit. So texts without any that moved
keep their vectors, and an index need not encode them again.
"""

import statim.training.needs_torch  # noqa: F401

# isort: split

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from statim.data.detect_task import Supervision
from statim.data.labelled.retrieval import from_pairs
from statim.data.pairs.pairs import Pairs
from statim.data.pairs.reading import read_pairs
from statim.errors import InputError
from statim.evaluation.retrieval import evaluate_retrieval
from statim.files import atomic_file, check_output
from statim.model import StaticModel
from statim.option import check_values, documented
from statim.progress import Clock
from statim.search.index import Index
from statim.search.lexical.analyzer import UNKNOWN, detect
from statim.search.reencoding import Reencoded, moved_rows
from statim.training.hyperparameters import LOSSES, START
from statim.training.options import TrainOptions
from statim.training.recipe import MOST_EPOCHS, usual_batch
from statim.training.result import TrainingResult
from statim.training.run import trained_on
from statim.training.run.load import load
from statim.training.run.record import Run
from statim.training.train import train
from statim.training.update_options import PULL, REPLAYED_PULL, UpdateKeywords, UpdateOptions

log = logging.getLogger("statim")

STEPS = 90  # about; more where one pass over the pairs takes more
METRIC = "ndcg@10"
SAMPLE = 200  # texts that the language is detected in


@dataclass(frozen=True)
class Score:
    """NDCG@10 on held-out pairs, ``before`` the update and ``after`` it; ``queries`` of them."""

    before: float
    after: float
    queries: int


@dataclass(frozen=True)
class UpdateResult:
    """What an update gave.

    Attributes:
        training: The training: its model, recipe, losses and seconds.
        scores: The scores on held-out ``new`` pairs, and on ``old`` ones where there are any.
        new_tokens: How many tokens the vocabulary has grown by.
        moved: How many of the old embeddings moved.
        index: What became of the index, if one was given.
    """

    training: TrainingResult
    scores: dict[str, Score]
    new_tokens: int
    moved: int
    index: Reencoded | None = None

    @property
    def model(self) -> StaticModel:
        """The updated model."""
        return self.training.model

    def to_dict(self) -> dict[str, Any]:
        """Everything but the model, as plain values for JSON."""
        kept = ("start", "pairs", "recipe", "seconds", "steps")
        training = self.training.to_dict()
        return {name: training[name] for name in kept} | {
            METRIC: {name: vars(score) for name, score in self.scores.items()},
            "new_tokens": self.new_tokens,
            "moved": self.moved,
            "index": None if self.index is None else self.index._asdict(),
        }

    def __str__(self) -> str:
        size = len(self.model.table) - self.new_tokens
        lines = [
            str(self.training).partition("\n")[0],
            f"{self.moved:,} of {size:,} embeddings moved, {self.new_tokens:,} new tokens",
        ]
        if self.scores:
            lines += ["", f"{'held-out NDCG@10':<18}{'before':>8}{'after':>8}{'queries':>9}"]
        lines += [
            f"{name:<18}{score.before:>8.3f}{score.after:>8.3f}{score.queries:>9,}"
            for name, score in self.scores.items()
        ]
        return "\n".join(lines + (["", f"index: {self.index}"] if self.index is not None else []))


@documented(UpdateOptions, UpdateKeywords)
def update(
    model: str | Path | StaticModel, new: Any, *, out: str | Path, **options: Unpack[UpdateKeywords]
) -> UpdateResult:
    """Train a static model on with new pairs or documents, without forgetting what it knows.

    Old embeddings are pulled back to where they were, those of tokens that the new pairs do not have stay as
    they are, and frequent new words get embeddings of their own. A model in fewer bits is widened to float32
    first. ``out`` is written as by ``train``; the model keeps its settings.

    Args:
        model: The model, or where one is (see ``StaticModel.load``).
        new: The new pairs or documents, as for ``train``.
        out: Folder to save the updated model into.
        replay: Old pairs, as for ``train``: at most as many as new ones are mixed in, and others are held out
            for the old scores.
        index: Folder of an index that ``model`` made; it is re-encoded in place (see ``Index.reencode``) once
            the updated model is saved.
        heldout: How many new pairs to hold out for the scores, or a file of them; by default a tenth, at most
            2,000. With 0 no scores are measured but those of ``old_heldout``.
        old_heldout: A file of old pairs for the old scores; by default a tenth of ``replay``.
        anchor: Column of anchors, or of documents' titles; guessed by default.
        positive: Column of positives, or of documents; guessed by default.
        negative: Column or columns of explicit negatives; guessed by default.
        delimiter: The character between the fields of CSV files; detected by default.
        encoding: The encoding of text files; by default UTF-8, or UTF-16 with a byte-order mark.
        pull: Elastic pull to the old embeddings: each step moves them back by this times the learning rate of
            their distance; 0.5 by default, 0.25 with ``replay``.
        rare_rows: Multiply each old embedding's learning rate by n / (n + rare_rows), for n texts that have
            the token; 3 by default.
        new_words: Add at most N frequent words that the vocabulary cuts into pieces; 1,000 by default.
        learning_rate: Adam's peak learning rate, for embeddings whose entries are about 1.
        batch: Pairs per step; by default derived from their number.
        epochs: Passes over the pairs; by default as many as make about 90 steps, at most 18.
        seed: Seed of splits, order and random numbers.
        checkpoint_every: Steps between checkpoints; by default at least 10 s apart, within 2 % of the time.
        resume: Resume an interrupted update; the other arguments must be the same.
        overwrite: Replace an existing ``out``.
        threads: Threads; see statim.threads.
        device: ``cpu``, ``cuda`` or ``auto`` (the default: a GPU if torch sees one).
        progress: Show progress bars on a terminal.

    Returns:
        The training with the updated model, and the scores before and after it.

    Raises:
        DataError: Pairs cannot be read, or there are too few.
        ModelError: There is no static model.
        InputError: An argument is out of range; the model is for queries alone, or not the index's; the data
            are no pairs or documents; the old pairs are the new ones; or training diverged.
        StorageError: The disk is full, read-only, or not permitted.
    """
    asked = UpdateOptions(**options)
    check_values(asked)
    if not asked.resume:
        check_output(out, overwrite=asked.overwrite)
    old = _loaded(model)
    index = _index(asked.index, old)
    data, tests = _data(new, asked, old)
    before = {name: _score(old, test) for name, test in tests.items()}
    batch, epochs = _size(len(data), asked)
    pull = asked.pull if asked.pull is not None else PULL if asked.replay is None else REPLAYED_PULL
    result = train(
        data, out=out, start=model, heldout=0, development=0, baselines="none",
        decay_to=START, weight_decay=pull, rare_rows=asked.rare_rows,
        grow_words=asked.new_words,
        learning_rate=asked.learning_rate, batch=batch, epochs=epochs, seed=asked.seed,
        checkpoint_every=asked.checkpoint_every, resume=asked.resume, overwrite=asked.overwrite,
        threads=asked.threads, device=asked.device, progress=asked.progress,
    )  # fmt: skip
    after = result.model
    scores = {
        name: Score(before[name], _score(after, test), len(from_pairs(test).queries))
        for name, test in tests.items()
    }
    told = None if index is None else index.reencode(after, threads=asked.threads)
    moved = moved_rows(old, after)[: len(old.table)]
    found = UpdateResult(result, scores, len(after.table) - len(old.table), int(moved.sum()), told)
    _add_to_card(Path(out), found)
    sources = [
        one for given in (new, asked.replay) for one in (given if isinstance(given, list) else [given])
    ]
    trained_on.write(
        Path(out),
        Run.begun(TrainOptions(data=[one for one in sources if one is not None], **_columns(asked)), 1),
    )
    return found


def _loaded(model: str | Path | StaticModel) -> StaticModel:
    """The model to update.

    Raises:
        InputError: It is for queries alone.
    """
    old = model if isinstance(model, StaticModel) else StaticModel.load(model)
    if old.settings.documents_by is not None:
        raise InputError(
            f"the model is for queries alone, beside the documents of {old.settings.documents_by}; train it "
            "again with statim train --documents-by"
        )
    if old.dtype != "float32":
        log.info(
            "the model is stored in %s; it is widened to float32 and saved so (statim quantize makes it "
            "small again)", old.dtype,
        )  # fmt: skip
    return old


def _index(path: str | Path | None, old: StaticModel) -> Index | None:
    """The index to re-encode, looked at before long work.

    Raises:
        InputError: Another model made it, or it cannot be re-encoded.
    """
    if path is None:
        return None
    index = Index.load(path)
    if index.model.hash != old.hash:
        raise InputError(
            f"the index {path} was made with another model than the one to update; give that model, or build "
            "the index again with the updated one"
        )
    index.check_reencoding()
    return index


def _data(new: Any, asked: UpdateOptions, old: StaticModel) -> tuple[Pairs, dict[str, Pairs]]:
    """The pairs to train on, and the held-out ones by name."""
    fresh, tests = _part(new, "new", asked, asked.heldout), {}
    train = {"new": fresh.train}
    _warn_of_language(old, fresh.train)
    if asked.replay is not None:
        replayed = _part(
            asked.replay, "replay", asked, 0 if asked.old_heldout or asked.heldout == 0 else None
        )
        if replayed.whole.hash == fresh.whole.hash:
            raise InputError("the new pairs and those to replay are the same; give other new ones")
        train["replay"] = _some(replayed.train, len(fresh.train), asked.seed)
        tests["old"] = replayed.test
    if asked.old_heldout is not None:
        tests["old"] = _read(asked.old_heldout, asked)
    tests = {"new": fresh.test, **tests}
    data = read_pairs(train) if len(train) > 1 else fresh.train
    return data, {name: left for name, test in tests.items() if len(left := _unseen(test, data))}


@dataclass(frozen=True, eq=False)
class _Part:
    """New or old pairs: all of them, and those to train on and to hold out."""

    whole: Supervision
    train: Pairs
    test: Pairs


def _part(data: Any, name: str, asked: UpdateOptions, heldout: int | str | Path | None) -> _Part:
    """Read pairs, or make them of documents, and hold some out.

    Raises:
        InputError: The data are neither.
    """
    options = TrainOptions(data=data, heldout=heldout, development=0, seed=asked.seed, **_columns(asked))
    found = load(options, Clock())
    parts = found.parts
    if not isinstance(parts.train, Pairs) or not isinstance(parts.test, Pairs):
        raise InputError(
            f"the {name} data are {LOSSES[found.loss]}, and a model is updated with pairs or documents; "
            "train on them with statim train --start"
        )
    return _Part(found.whole, parts.train, parts.test)


def _columns(asked: UpdateOptions) -> dict[str, Any]:
    """How the data are read."""
    return {one: getattr(asked, one) for one in ("anchor", "positive", "negative", "delimiter", "encoding")}


def _read(path: str | Path, asked: UpdateOptions) -> Pairs:
    return read_pairs(path, anchor=asked.anchor, positive=asked.positive, negative=asked.negative)


def _some(pairs: Pairs, most: int, seed: int) -> Pairs:
    """So many pairs at most, drawn at random."""
    if len(pairs) <= most:
        return pairs
    return pairs.select(np.sort(np.random.default_rng(seed).permutation(len(pairs))[:most]))


def _unseen(test: Pairs, train: Pairs) -> Pairs:
    """Held-out pairs that are not trained on, as where old pairs are among the new ones."""
    held = list(zip(test.anchors.to_pylist(), test.positives.to_pylist(), strict=True))
    wanted = set(held)
    seen = {
        pair
        for pair in zip(train.anchors.to_pylist(), train.positives.to_pylist(), strict=True)
        if pair in wanted
    }
    return test.select([at for at, pair in enumerate(held) if pair not in seen]) if seen else test


def _warn_of_language(old: StaticModel, pairs: Pairs) -> None:
    own = old.settings.language
    language = detect(text.as_py() for text in pairs.positives[:SAMPLE]) if own else UNKNOWN
    if language not in (UNKNOWN, *own):
        log.warning(
            "the new texts are in the language %s and the model is for %s; train a model on them",
            language, ", ".join(own),
        )  # fmt: skip


def _size(pairs: int, asked: UpdateOptions) -> tuple[int, int]:
    """Pairs per step, and passes over all."""
    batch = asked.batch or usual_batch(pairs, "contrastive")
    return batch, asked.epochs or min(MOST_EPOCHS, max(1, math.ceil(STEPS * batch / pairs)))


def _score(model: StaticModel, test: Pairs) -> float:
    return float(evaluate_retrieval(model, from_pairs(test), metrics=(METRIC,)).metrics[METRIC])


def _add_to_card(out: Path, found: UpdateResult) -> None:
    """The scores of both kinds of pairs, behind what training wrote."""
    card = (out / "README.md").read_text(encoding="utf-8")
    with atomic_file(out / "README.md") as file:
        file.write(f"{card}\n## Update\n\n```text\n{found}\n```\n".encode("utf-8", "backslashreplace"))
