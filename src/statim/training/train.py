"""From pairs or labelled texts to a trained, evaluated, saved static model: the whole of ``statim train``."""

import dataclasses
import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.data.corpus import Corpus
from statim.data.own_sentences import own_sentences
from statim.data.pairs import PYTHON_DOCS, Pairs
from statim.data.plain import PlainTexts, read_plain
from statim.data.python_docs import python_docs
from statim.data.self_pairs import check_kinds, split_into_pairs
from statim.data.split import Split
from statim.data.supervision import Supervision, read_supervision
from statim.errors import InputError
from statim.evaluation.comparison import Comparison
from statim.evaluation.report import Report
from statim.files import atomic_file, check_output
from statim.model import StaticModel
from statim.progress import Progress
from statim.teacher import Teacher
from statim.tokenizer import Tokenizer
from statim.training import checkpoint, curves, distributed, heldout, per_set, run
from statim.training.bags import TrainingSet
from statim.training.batches import Schedule
from statim.training.checkpoint import Checkpoints
from statim.training.development import MOST, Development
from statim.training.device.fit import choose
from statim.training.device.fit import fit as fit_on_device
from statim.training.device.optimizer import DeviceAdam
from statim.training.history import History
from statim.training.lessons import MOST_SENTENCES, OWN, SENTENCES, find_teacher, hash_of, lessons
from statim.training.mined import Miner
from statim.training.optimizer import SparseAdam
from statim.training.recipe import LOSSES, PRESETS, TAUGHT, Recipe
from statim.training.result import TrainingResult, card
from statim.training.sets import TextSet, TrainingData, training_data, usual_loss
from statim.training.start import Start, start_from, with_vocabulary
from statim.training.trainer import DivergenceError, begin, fit
from statim.training.watch import Best, Watch, tensorboard_writer
from statim.vocabulary import check_rows

if TYPE_CHECKING:
    import torch

log = logging.getLogger("statim")

KEEPS = ("last", "best")
DISTIL_WEIGHT = 20.0  # of a loss that is a mean over levels, beside one that is a sum of cosines times 20
# For pairs made of documents' own parts, from a start that knows something: more unlearns it (benchmarks/without_pairs.py)
OWN_RATE, OWN_EPOCHS = 0.03, 3

Seconds = dict[str, float]
Floats = npt.NDArray[np.float32]


def train(
    data: Any = None,
    *,
    recipe: str | None = None,
    out: str | Path | None = None,
    start: str | Path | StaticModel | None = None,
    tokenizer: str | Path | Tokenizer | None = None,
    grow_words: int | None = None,
    grow_pairs: int | None = None,
    prune_vocabulary: bool | None = None,
    anchor: str | Mapping[str, str] | None = None,
    positive: str | Mapping[str, str] | None = None,
    negative: str | list[str] | Mapping[str, str | list[str]] | None = None,
    score: str | None = None,
    label: str | None = None,
    loss: str | None = None,
    packages: list[str] | None = None,
    make_pairs: str | Sequence[str] | None = None,
    dim: int | None = None,
    matryoshka: list[int] | None = None,
    weights: list[float] | None = None,
    batch: int | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    schedule: str | None = None,
    warmup: float | None = None,
    scale: float | None = None,
    both_directions: bool | None = None,
    triplet_margin: float | None = None,
    false_negative_margin: float | None = None,
    weight_decay: float | None = None,
    token_dropout: float | None = None,
    freeze: Sequence[str] | None = None,
    clip: float | None = None,
    row_wise: bool | None = None,
    new_rows_rate: float | None = None,
    distil: Any = None,
    distil_weight: float | None = None,
    teacher: str | Path | None = None,
    documents_by: str | Path | None = None,
    precision: str | None = None,
    seed: int | None = None,
    hard_negatives: int | None = None,
    mine_every: int | None = None,
    mix: str | None = None,
    set_weights: Mapping[str, float] | None = None,
    set_limits: Mapping[str, int] | None = None,
    heldout: int | str | Path | None = None,
    development: int | str | Path | None = None,
    evaluate_every: int | None = None,
    keep: str | None = None,
    patience: int | None = None,
    baselines: bool | None = None,
    checkpoint_every: int | None = None,
    keep_checkpoints: int | None = None,
    tensorboard: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    device: str | None = None,
    progress: bool = False,
) -> TrainingResult:
    """Train a static model on pairs of text, on pairs with scores, on texts with labels, or on documents without pairs.

    Args:
        data: One or several files, a table or data frame, tuples (see ``statim.data.read_pairs``), or ``"python-docs"``. Documents are
            a folder of text files, a text file, or a table with one column of text (see ``statim.data.read_corpus``).
            A mapping gives several sets names of their own: ``{"faq": "faq.csv", "docs": "python-docs"}``.
        out: Save the model into this folder, with the log of every step (``training.jsonl``, see statim.training.history) and a
            picture of it (``training.html``). Until then both the log and checkpoints stand in ``out.training``.
        start: ``"random"``; an earlier static model; or a sentence transformer to distil, by path or hub name. By default
            all-MiniLM-L6-v2 if it can be had, else random.
        tokenizer: For a random start: a ``tokenizer.json``, a folder or model that has one. By default a vocabulary is learned.
        grow_words: Give so many of the training texts' most frequent words, of those that are cut into pieces, rows of their own;
            see statim.vocabulary. By default 10,000 where a teacher is distilled and pairs are trained on, else none.
        grow_pairs: Likewise for pairs of words; by default none.
        prune_vocabulary: Leave out the rows that never occur in the training texts, but for those that spell other texts;
            by default none.
        anchor: Name of the column of anchors, of the first texts of scored pairs, of texts with labels, or of documents' titles;
            guessed by default, for each set by itself. Of pairs, here and in the next two a mapping from the names of sets gives it for some.
        positive: Name of the column of positives, of the second texts of scored pairs, or of documents; guessed by default.
        negative: Name or names of columns with explicit negatives; guessed by default.
        score: Name of the column of scores; guessed by default.
        label: Name of the column of labels; guessed by default.
        loss: ``contrastive``, ``triplet``, ``margin-mse`` or ``kl`` (both with a teacher's scores) for pairs, ``cosent`` or ``cosine``
            for scored pairs, ``classes`` for labelled texts, ``distillation`` for plain texts; by default the first for what the columns
            say (see training.objectives).
        packages: For ``"python-docs"``: only these packages.
        make_pairs: Take the data for documents, also where it looks like pairs, and make these kinds of pairs of them: ``titles``,
            ``sentences``, ``neighbours``, ``crops`` (see statim.data.self_pairs). By default the usual ones, of documents only.
            Documents are held out, not pairs.
        dim: Dimensions. By default those of the start.
        matryoshka: Dimensions at which prefixes are trained to be good by themselves. By default halves of the full one.
        weights: How much each of these counts in the loss, as many numbers; by default all alike.
        batch: Pairs (or labelled texts) per step.
        epochs: Passes over the data; by default 3, of few pairs up to 18 so that there are some 300 steps, 1 from a million on.
        learning_rate: Peak rate of Adam, for tables whose entries are about 1; by default a third of that of pairs for documents.
        schedule: What the rate does after warm-up: ``linear`` (default) or ``cosine``, both to 0, or ``constant``.
        warmup: Share of the steps in which the rate rises; 0.1 by default.
        scale: Cosines are multiplied by it in the loss (1 / temperature).
        both_directions: Train from positives to anchors too.
        triplet_margin: Of the triplet loss, in cosines.
        false_negative_margin: Candidates whose cosine exceeds the positive's by more than this are taken for unknown positives,
            and are no negatives of that anchor (``contrastive`` and ``classes``); by default all others are negatives.
        weight_decay: Decoupled from the gradient (AdamW): a step shrinks all rows by this times the rate; 0 by default.
        token_dropout: Probability with which each distinct token of a text is left out of its mean for a step; 0 by default.
        freeze: Tokens whose rows must not move, relative to a start of entries of root mean square 1 (to which any is brought).
        clip: The gradient of the whole table is scaled down to this norm where it is larger; 1 by default.
        row_wise: Keep one second moment for each row, which saves a third of the memory; by default one for each entry.
        new_rows_rate: What the rate is multiplied by for tokens that the start has no row for; 1 by default.
        distil: Plain texts whose vectors shall come close to a teacher's (one or several files, or a table with a column of texts;
            see ``data.plain.read_plain``), or ``"pairs"``: the pairs' own; or ``"sentences"``: 350,000 drawn from these. Each step takes a batch of them beside the pairs. Without
            pairs they are all that is trained on. The start is mapped to the teacher's vectors by ridge regression.
        distil_weight: How many times their distance from the teacher counts in the loss beside the pairs' own.
        teacher: Who teaches, by path or hub name, for ``distil`` and the losses ``margin-mse`` and ``kl``; by default the start's
            teacher, else all-MiniLM-L6-v2.
        documents_by: Train a model for queries alone, against this teacher's vectors of documents, which do not move: of its
            dimensions, to be searched with ``Index.build(..., documents_by=teacher)``. Queries come close to the teacher's vectors
            of them too (``distil``, by default of the pairs' own texts).
        precision: ``int8``, ``bf16`` or ``fp32``: what is rounded, see Recipe; ``bf16`` by default.
        seed: Decides splits, order and random numbers.
        hard_negatives: So many negatives of each pair are mined among the positives, with the table as it is then: before the first
            epoch, or after it from a random start, and again between epochs; by default none.
        mine_every: Epochs from one mining to the next, 1 by default.
        mix: How several sets of pairs are mixed: ``together`` (all pairs shuffled, the default), ``proportional`` (each batch is
            of one set, which have as many as they have pairs) or ``turn`` (each batch is of one set, by turns).
        set_weights: How many times the pairs of a set are taken per epoch, by the set's name; 1 where none is given, fractions
            are allowed. With ``turn``: how many turns a set has.
        set_limits: How many pairs of a set are used at most, by the set's name; they are drawn by the seed before any are held out.
        heldout: How many to hold out for the final table (0 for none), or a file of such data.
        development: How many to hold out for evaluations during training (0 for none), or a file. By default half as many as
            ``heldout``; none where that is a file. Only pairs are evaluated during training.
        evaluate_every: Steps between evaluations. By default a few an epoch, at most so many that they take under 5 % of the time;
            the start and the last step are always evaluated.
        keep: ``last`` keeps the table of the last step; ``best`` that of the best evaluation (NDCG@10, the earliest of equals).
            By default ``last``, since a falling rate makes the end the best and choosing flatters; with ``patience`` ``best``.
        patience: Stop after so many evaluations without a gain.
        baselines: Put BM25 and the teacher into the table; by default yes.
        checkpoint_every: Steps between checkpoints (needs ``out``). By default they go by the clock: 10 s apart or further, so that
            they take about 2 % of the time.
        keep_checkpoints: The newest so many checkpoints are kept, 2 by default; with 0 none is written.
        tensorboard: Write loss, rate and evaluations into this folder for TensorBoard.
        resume: Go on with an interrupted training into ``out``, to the same bits. It knows its options and files; given again,
            they must be the same, but for the rate (from there on), threads, baselines, checkpoints and tensorboard.
        overwrite: Replace what stands at ``out``.
        threads: Threads; see statim.threads.
        device: ``cpu``, ``cuda`` or ``auto`` (the default: a GPU if torch sees one). Started several times by torchrun, the
            processes share each batch; only the first compares, speaks and writes.
        progress: Show progress bars on a terminal.

    Returns:
        The model, the held-out table, the recipe and the seconds each part took.

    Raises:
        DataError: The pairs cannot be read, or there are too few.
        ModelError: The start is no model.
        InputError: An argument is out of range, a resumed run's files or options changed, or training diverged.
        DependencyError: TensorBoard is asked for and not installed.
        StorageError: The disk is full, read-only, or not permitted.
    """
    given = dict(locals())
    if recipe is not None and not resume:
        given |= preset(recipe, given)
    workers = pool.count(threads) if threads is not None else distributed.fair_share(pool.count())
    _check(SimpleNamespace(**given))
    if out is None or not distributed.is_first():
        this = checkpoint.read_run(out) if resume and out is not None else run.begun(given, workers)
        return _train(SimpleNamespace(**(run.resumed(this, given) if resume else given)), this, None)
    if not resume:
        check_output(out, overwrite=overwrite)
    with checkpoint.opened(out, resume=resume):
        this = checkpoint.read_run(out) if resume else run.begun(given, workers)
        asked = SimpleNamespace(**(run.resumed(this, given) if resume else given))
        if resume:
            # a kill once the model was to be saved may have left one there, which is replaced by the same
            asked.overwrite = asked.overwrite or this.get("saving", False)
            check_output(out, overwrite=asked.overwrite)
        else:
            checkpoint.write_run(out, this)
        try:
            result = _train(asked, this, Path(out))
        except BaseException as error:
            _leave(out, resume, error)
            raise
        checkpoint.finish(out)
    return result


def _leave(out: str | Path, resume: bool, error: BaseException) -> None:
    """After a failure: keep what can be gone on with, and say so; remove the rest."""
    kept = checkpoint.steps(out)
    if not kept and not resume:
        checkpoint.finish(out)
    if not kept:
        return
    step = checkpoint.newest_step(out)
    if isinstance(error, DivergenceError):
        raise InputError(
            f"{error}; the checkpoint of step {step:,} is kept, and a lower rate goes on from there "
            f"(statim train --resume {out} --learning-rate ...)"
        ) from None
    log.info(
        "the checkpoint of step %s is kept; statim train --resume %s goes on from there", f"{step:,}", out
    )


def _check(asked: SimpleNamespace) -> None:
    """Refuse nonsense before long work.

    Raises:
        InputError: An option is out of range, or needs another.
    """
    if asked.out is None and (asked.resume or asked.checkpoint_every is not None):
        raise InputError("checkpoints stand beside the output; name one (--out DIR)")
    if asked.data is None and asked.distil is None and not asked.resume:
        raise InputError(
            "no pairs were given; name a file of pairs, or python-docs (or plain texts to distil)"
        )
    _check_lessons(asked)
    if asked.packages is not None and asked.data not in (None, PYTHON_DOCS):
        raise InputError(
            "--packages chooses what python-docs reads; give it with the source python-docs alone"
        )
    if asked.make_pairs is not None:
        check_kinds(asked.make_pairs)
    check_rows(asked.grow_words or 0, asked.grow_pairs or 0)
    counts = {"checkpoint-every": 1, "evaluate-every": 1, "patience": 1, "keep-checkpoints": 0}
    for name, least in counts.items():
        value = getattr(asked, name.replace("-", "_"))
        if value is not None and (not isinstance(value, int) or value < least):
            raise InputError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    if asked.keep not in (None, *KEEPS):
        raise InputError(f"keep is {asked.keep!r}; it must be one of {', '.join(KEEPS)}")
    choose(asked.device or "auto")
    levels, dim = asked.matryoshka, asked.dim
    widest = dim if dim is not None or not levels else max(*levels, 1)
    per_set.check(asked.set_weights, asked.set_limits)
    if isinstance(asked.freeze, str) or not all(isinstance(token, str) for token in asked.freeze or []):
        raise InputError(f"freeze is {asked.freeze!r:.60}; give a list of tokens")
    _recipe(asked, 1000, 256, dim=widest)  # as of a start with a table: the usual rate is then the lower one


def _check_lessons(asked: SimpleNamespace) -> None:
    """Refuse what cannot be learned from a teacher."""
    if asked.data is None and _is(asked.distil, OWN, SENTENCES):
        raise InputError(f"distil is {asked.distil!r}, and no pairs were given; name a file of plain texts")
    if asked.data is None and asked.distil is not None and asked.loss not in (None, "distillation"):
        raise InputError(
            f"the loss {asked.loss} needs pairs beside the texts to distil; give some, or leave it out"
        )
    beside = asked.data is not None and (asked.distil is not None or asked.documents_by is not None)
    if asked.distil_weight is not None and not beside and not asked.resume:
        raise InputError(
            "a weight of distillation is given, which needs both pairs and texts to distil (--distil FILE or --distil pairs)"
        )
    learns = asked.distil is not None or asked.documents_by is not None or asked.loss in TAUGHT
    if learns and (choose(asked.device or "auto").type != "cpu" or distributed.is_distributed()):
        raise InputError(
            "distillation cannot be trained on a GPU or by several processes; give --device cpu and start one process"
        )
    if asked.documents_by is not None and (
        asked.loss not in (None, "contrastive", "distillation") or asked.matryoshka
    ):
        what = "Matryoshka levels" if asked.matryoshka else f"the loss {asked.loss}"
        raise InputError(
            f"{what} cannot be trained against a teacher's documents (documents_by), only the whole vectors and the loss contrastive"
        )


def _taught(asked: SimpleNamespace, begun: Start, teacher: Teacher | None) -> dict[str, Any]:
    """What a teacher decides of the recipe.

    Raises:
        InputError: More dimensions are asked for than the teacher has.
    """
    if teacher is None or (
        asked.distil is None and asked.documents_by is None and asked.loss != "distillation"
    ):
        return {}
    fixed = asked.documents_by is not None
    wanted = asked.dim or (teacher.dim if fixed else min(begun.dim or teacher.dim, teacher.dim))
    if wanted > teacher.dim or (fixed and wanted != teacher.dim):
        raise InputError(
            f"dim is {wanted}, but the teacher {teacher.name} has {teacher.dim} dimensions; give "
            + (f"{teacher.dim}, as its documents have," if fixed else f"at most {teacher.dim},")
            + " or leave it out"
        )
    mixes = asked.data is not None and asked.loss != "distillation"
    weight = (DISTIL_WEIGHT if asked.distil_weight is None else asked.distil_weight) if mixes else None
    levels = [wanted] if fixed else asked.matryoshka
    return {"dim": wanted, "levels": levels, "distil_weight": weight, "asymmetric": fixed or None}


def _recipe(asked: SimpleNamespace, pairs: int, start_dim: int | None, **given: Any) -> Recipe:
    names = (
        "dim", "batch", "epochs", "learning_rate", "schedule", "warmup", "scale", "both_directions", "precision", "seed",
        "loss", "weights", "triplet_margin", "mix", "false_negative_margin", "weight_decay", "token_dropout", "new_rows_rate",
        "clip", "row_wise", "hard_negatives", "mine_every", "distil_weight",
    )  # fmt: skip
    options = {name: getattr(asked, name) for name in names} | {"levels": asked.matryoshka}
    return Recipe.make(pairs, start_dim, **options | given)


def _train(asked: SimpleNamespace, this: dict[str, Any], out: Path | None) -> TrainingResult:
    """Train as ``asked``, and write to ``out``; ``this`` is the run's record, which is completed by what is found."""
    workers, found = asked.threads or this["threads"], this.get("found")
    seconds: Seconds = {}
    with _clock(seconds, "read"):
        source = python_docs(asked.packages) if asked.packages else asked.data
        plain = (
            None if asked.distil is None or _is(asked.distil, OWN, SENTENCES) else read_plain(asked.distil)
        )
        if source is None:
            source, asked.loss = plain, "distillation"
        names = {name: getattr(asked, name) for name in ("anchor", "positive", "score", "label")}
        kind = "documents" if asked.make_pairs else asked.loss and LOSSES[asked.loss]
        pairs = read_supervision(source, kind=kind, negative=asked.negative, **names)
        log.info("%s", pairs.report)
        asked.loss = asked.loss or usual_loss(pairs)
        seed, kind, read = asked.seed or 0, LOSSES[asked.loss], len(pairs)
        shares = per_set.weights_of(pairs, asked.set_weights or {})
        limits = per_set.limits_of(pairs, asked.set_limits or {})
        pairs = per_set.limited(pairs, limits, seed)
    with _clock(seconds, "split"):
        parts = heldout.hold_out(pairs, asked.heldout, asked.development, seed=seed, kind=kind, names=names)
        heldout.check(parts.test)
        if isinstance(pairs, Corpus):
            parts = split_into_pairs(parts, check_kinds(asked.make_pairs), seed=seed)
        if _is(asked.distil, SENTENCES):
            if not isinstance(parts.train, Pairs):
                raise InputError(
                    f"distil is {SENTENCES!r}, which are drawn from pairs; these are {parts.train.unit}: name a file of texts"
                )
            plain = own_sentences(parts.train, MOST_SENTENCES, seed)
            log.info("%s sentences to distil on were drawn from the pairs' texts", f"{len(plain):,}")
    with _clock(seconds, "start"):
        begun = start_from(asked.start, asked.tokenizer, parts.train, asked.progress)
        more = {"words": asked.grow_words, "pairs": asked.grow_pairs, "prune": asked.prune_vocabulary}
        begun = with_vocabulary(begun, parts.train, **more, threads=workers)
        guide = find_teacher(asked, begun.teacher)
        if found:
            _refuse_changed(asked.out, this, pairs, begun, hash_of(guide, plain))
        rate, epochs = asked.learning_rate, asked.epochs
        if isinstance(pairs, Corpus) and begun.dim is not None:
            rate = OWN_RATE if rate is None else rate
            epochs = OWN_EPOCHS if epochs is None else epochs
        recipe = (
            Recipe.from_dict(found["recipe"])
            if found
            else _recipe(
                asked,
                len(parts.train),
                begun.dim,
                learning_rate=rate,
                epochs=epochs,
                set_weights=shares,
                set_limits=limits,
                **_taught(asked, begun, guide),
            )
        )
        begun = _for_queries(begun, guide, recipe)
        row_rates = begun.row_rates(asked.freeze or (), recipe.new_rows_rate)
    with _clock(seconds, "tokenize"):
        data = training_data(parts.train, begun.tokenizer, threads=workers)
        development = _development(asked, parts, begun, workers)
    taught = None
    if guide is not None:
        with _clock(seconds, "teach"):
            taught = lessons(
                data, parts.train, plain, guide, begun.tokenizer, recipe, workers, asked.progress
            )
            data = taught.data
    if development is not None and recipe.asymmetric and guide is not None:
        with _clock(seconds, "teach"):
            development.fix_documents(
                guide.encode_document(development.task.documents, progress=asked.progress)
            )
    with _clock(seconds, "start"):
        table = begun.table(data, recipe)
        if taught is not None and taught.taught is not None:
            table = taught.start(table, workers)
            begun = dataclasses.replace(
                begun, words=f"{begun.words}, mapped to {guide.name if guide else ''}"
            )
        begun_model = StaticModel(table.copy(), begun.tokenizer, begun.settings)
    steps = Schedule(data, recipe).steps * recipe.epochs
    if not found:
        usual = max(1, steps // (MOST * recipe.epochs))
        if development is not None and isinstance(data, TrainingSet):
            usual = development.spacing(data, recipe, steps)
        this["found"] = {"recipe": recipe.to_dict(), "evaluate_every": asked.evaluate_every or usual}
        if out is not None:
            this["found"] |= {"pairs": pairs.hash, "start": begun.hash, "lessons": hash_of(guide, plain)}
            checkpoint.write_run(out, this)
    log.info(
        "training on %s %s: %s, %d dimensions, loss %s, batch %d, %d epoch%s, rate %g, %d threads",
        f"{len(parts.train):,}", parts.train.unit, begun.words, recipe.dim, recipe.loss, recipe.batch, recipe.epochs,
        "s" if recipe.epochs > 1 else "",
        recipe.learning_rate, workers,
    )  # fmt: skip
    miner = Miner(data, recipe, begun.source is not None, workers)
    beside = taught.taught if taught is not None and taught.mixed else None
    kept, watch = _loop(asked, this, data, recipe, table, row_rates, development, miner, workers, out, beside)
    history, best = watch.history, watch.best
    seconds["train"] = history.seconds
    model = StaticModel(kept, begun.tokenizer, begun.settings)
    comparison: Comparison | Report | None = None
    others, first = {}, distributed.is_first()
    with _clock(seconds, "evaluate"):
        baselines = asked.baselines is not False
        teacher = begun.teacher if baselines else None
        if len(parts.test) and first and isinstance(parts.test, PlainTexts) and taught and guide:
            role = "query" if recipe.asymmetric else "text"
            aims = taught.targets(guide, parts.test.texts, role, asked.progress)
            comparison = heldout.closeness(parts.test, begun_model, model, aims)
        elif len(parts.test) and first:
            documents = guide if recipe.asymmetric else None
            comparison = heldout.standings(
                parts,
                begun_model,
                model,
                guide if documents and baselines else teacher,
                baselines,
                asked.progress,
                documents,
            )
        if development is not None and out is not None and baselines:
            others = heldout.references(development, comparison, teacher, asked.progress)
    result = TrainingResult(
        model=model,
        recipe=recipe,
        comparison=comparison,
        pairs={
            "read": read, "train": len(parts.train), "development": len(parts.development),
            "test": len(parts.test), "moved": parts.moved,
        },
        seconds=seconds,
        start=begun.words,
        teacher=begun.teacher.name if begun.teacher else None,
        losses=np.array(history.losses),
        steps=steps,
        kept=len(history.losses) if best.table is None else best.step,
        development=history.evaluations,
        references=others,
        changes=[(step, rate) for step, rate in this["rates"]],
        frozen=0 if row_rates is None else int((row_rates == 0).sum()),
    )  # fmt: skip
    if out is not None:
        with _clock(seconds, "save"):
            checkpoint.write_run(out, this | {"saving": True})
            _save(out, result, parts.train, asked.overwrite)
    return result


@contextmanager
def _clock(seconds: Seconds, name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started


def _development(asked: SimpleNamespace, parts: Split[Any], begun: Start, threads: int) -> Development | None:
    """What is evaluated during training, if anything.

    Raises:
        InputError: Nothing is held out, but an option needs it.
    """
    if len(parts.development) and isinstance(parts.development, Pairs):
        return Development(parts.development, begun.tokenizer, begun.settings, threads)
    for name, needs in (("patience", asked.patience), ("keep best", asked.keep == "best")):
        if needs:
            raise InputError(
                f"{name} needs evaluations during training, which are of pairs, and none are held out for them; hold some out (--development "
                "COUNT)"
            )
    return None


def _is(distil: Any, *words: str) -> bool:
    """Is one of these words in the place of texts to distil?"""
    return isinstance(distil, str) and distil in words


def preset(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a preset that are not ``given``.

    Raises:
        InputError: There is none of that name.
    """
    if name not in PRESETS:
        raise InputError(f"recipe is {name!r}; it must be {', '.join(PRESETS)}, or left out")
    return {option: value for option, value in PRESETS[name].items() if given[option] is None}


def _for_queries(begun: Start, teacher: Teacher | None, recipe: Recipe) -> Start:
    """The start of a model for queries alone remembers whose documents they are for."""
    if teacher is None or not recipe.asymmetric:
        return begun
    settings = dataclasses.replace(
        begun.settings, documents_by=str(teacher.name), documents_hash=teacher.hash
    )
    return dataclasses.replace(begun, settings=settings)


def _refuse_changed(
    out: str | Path, this: dict[str, Any], pairs: Supervision, begun: Start, lessons: str
) -> None:
    """A resumed run must find what it began with."""
    found = this["found"]
    if pairs.hash != found["pairs"]:
        raise InputError(
            f"the pairs are not those of the interrupted training into {out}{run.changed(this)}; give the same unchanged, or "
            "start anew"
        )
    if begun.hash != found["start"]:
        raise InputError(
            f"the interrupted training into {out} began from another start ({begun.words} has changed){run.changed(this)}; give "
            "the same unchanged, or start anew"
        )
    if lessons != found.get("lessons", lessons):
        raise InputError(
            f"the texts to distil or their teacher are not those of the interrupted training into {out}{run.changed(this)}; give "
            "the same unchanged, or start anew"
        )


def _loop(
    asked: SimpleNamespace,
    this: dict[str, Any],
    data: TrainingData,
    recipe: Recipe,
    table: Floats,
    row_rates: Floats | None,
    development: Development | None,
    miner: Miner,
    threads: int,
    out: Path | None,
    taught: TextSet | None,
) -> tuple[Floats, Watch]:
    """Train, from the newest checkpoint where there is one; gives the table to keep."""
    if (
        asked.resume
        and run.change_rate(this, recipe, asked.learning_rate, checkpoint.newest_step(asked.out))
        and out
    ):
        checkpoint.write_run(out, this)
    keep = asked.keep or ("best" if asked.patience else "last")
    optimizer = begin(table, data, recipe, threads, this["rates"], row_rates)
    best = Best(keep == "best")
    before = checkpoint.load(asked.out, optimizer.rates, threads, recipe, row_rates) if asked.resume else None
    if before is not None:
        optimizer, state, extra = before
        best = Best(keep == "best", **state["best"], table=extra.get("best"))
        miner.negatives = extra.get("negatives")
    left = (len(optimizer.rates) - 1 - optimizer.step) * min(recipe.batch, len(data))
    unit = "texts" if recipe.loss in ("classes", "distillation") else "pairs"
    with ExitStack() as stack:
        bar = stack.enter_context(Progress("train", total=left, unit=unit, show=asked.progress))
        history = History(checkpoint.folder(out) / checkpoint.LOG if out else None, step=optimizer.step)
        stack.enter_context(closing(history))
        watch = Watch(
            recipe, len(data), history, best,
            development=development, every=this["found"]["evaluate_every"], patience=asked.patience,
            checkpoint_every=asked.checkpoint_every, bar=bar,
        )  # fmt: skip
        watch.miner = miner
        if out is not None:
            kept = checkpoint.KEEP if asked.keep_checkpoints is None else asked.keep_checkpoints
            size = optimizer.table.nbytes + optimizer.first.nbytes + optimizer.second.nbytes
            watch.checkpoints = Checkpoints(out, size, asked.checkpoint_every, kept)
            stack.enter_context(closing(watch.checkpoints))
        if asked.tensorboard is not None and distributed.is_first():
            watch.board = stack.enter_context(closing(tensorboard_writer(asked.tensorboard, optimizer.step)))
        last = _fit(choose(asked.device or "auto"), miner, optimizer, recipe, watch, taught)
    return last if best.table is None else best.table, watch


def _fit(
    device: "torch.device",
    miner: Miner,
    optimizer: SparseAdam,
    recipe: Recipe,
    watch: Watch,
    taught: TextSet | None,
) -> Floats:
    """Train on this processor, on a device, or as one of several processes; gives the table of the last step."""
    if device.type == "cpu" and not distributed.is_distributed():
        watch.begin(optimizer)
        for data, until in miner.stretches(optimizer, lambda: watch.stops):
            fit(data, optimizer, recipe, on_step=watch, until=until, taught=taught)
        return optimizer.current()
    with distributed.joined(device) as group:
        there = DeviceAdam(optimizer, device, half=recipe.precision != "fp32")
        watch.begin(there)
        for data, until in miner.stretches(there, lambda: watch.stops):
            fit_on_device(
                data, there, recipe, on_step=watch, needs_state=watch.pauses, group=group, until=until
            )
        return there.current()


def _save(out: Path, result: TrainingResult, pairs: Supervision, overwrite: bool) -> None:
    """The model, and beside it the log and its picture."""
    result.model.save(out, card=card(result, pairs), overwrite=overwrite)
    with atomic_file(out / "training.html") as file:
        file.write(curves.page(result).encode())
    source = checkpoint.folder(out) / checkpoint.LOG
    with source.open("rb") as written, atomic_file(out / checkpoint.LOG) as file:
        shutil.copyfileobj(written, file)
