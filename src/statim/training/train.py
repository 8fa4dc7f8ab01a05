"""From pairs or labelled texts to a trained, evaluated, saved static model: the whole of ``statim train``."""

import statim.training.needs_torch  # noqa: F401

# isort: split

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from statim import threads as executor
from statim.data.detect_task import Supervision
from statim.data.documents.corpus import Corpus
from statim.data.documents.plain import PlainTexts
from statim.data.pairs.pairs import Pairs
from statim.data.split import Split
from statim.errors import InputError
from statim.evaluation.comparison import Comparison
from statim.evaluation.report import Report
from statim.files import atomic_file, check_output
from statim.model import StaticModel
from statim.progress import Clock
from statim.teacher import Teacher
from statim.training.datasets.bags import TrainingSet
from statim.training.datasets.batches import Schedule
from statim.training.datasets.sets import TrainingData, training_data
from statim.training.device import distributed
from statim.training.distillation.teacher_targets import (
    TeacherTargets,
    distilled_first,
    find_teachers,
    hash_of,
    teacher_targets,
)
from statim.training.keywords import TrainKeywords
from statim.training.loop.trainer import DivergenceError
from statim.training.option import documented
from statim.training.options import TrainOptions, with_preset
from statim.training.recipe import Recipe
from statim.training.result import TrainingResult, card
from statim.training.run import checkpoint, curves, heldout
from statim.training.run.checks import check, taught_by
from statim.training.run.launch import launch
from statim.training.run.load import Loaded, load
from statim.training.run.record import Found, Run
from statim.training.run.validation import MOST, Validation
from statim.training.start import Start, start_from, with_lengths, with_vocabulary

log = logging.getLogger("statim")

# For pairs made of documents' own parts, from a start that knows something: more unlearns it (benchmarks/without_pairs.py)
OWN_RATE, OWN_EPOCHS = 0.03, 3

Floats = npt.NDArray[np.float32]


@documented(TrainOptions, TrainKeywords)
def train(
    data: Any = None, *, out: str | Path | None = None, **options: Unpack[TrainKeywords]
) -> TrainingResult:
    """Train a static model on pairs of text, pairs with scores, texts with labels, or documents without pairs.

    Every option may be left out; None asks for the default.

    Args:
        data: One or several files, a table or data frame, tuples (see ``statim.data.read_pairs``), or ``"python-docs"``. Documents
            are a folder of text files, a text file, or a table with one column of text (see ``statim.data.read_corpus``). A mapping
            names several sets: ``{"faq": "faq.csv", "docs": "python-docs"}``.
        out: Folder to save the model into, with the log of every step (``training.jsonl``, see statim.training.run.history) and a
            picture of it (``training.html``). During training, the log and the checkpoints are in ``out.training``.
        anchor: Column of anchors, of the first texts of scored pairs, of texts with labels, or of documents' titles. Guessed for
            each set by default. For pairs, ``anchor``, ``positive`` and ``negative`` may be mappings from names of sets.
        positive: Column of positives, of the second texts of scored pairs, or of documents; guessed by default.
        negative: Column or columns of explicit negatives; guessed by default.
        score: Column of scores; guessed by default.
        label: Column of labels; guessed by default.
        packages: For ``"python-docs"``: read only these packages.
        make_pairs: Read the data as documents, even if it looks like pairs, and make these kinds of pairs from them: ``titles``,
            ``sentences``, ``neighbours``, ``crops`` (see statim.data.pairs_from_documents). By default the usual kinds, for documents only.
            Documents are held out, not pairs.
        set_weights: How many times the pairs of a set are taken per epoch, by the set's name; 1 by default, fractions are allowed.
            With the mix ``turn``: how many turns a set has.
        set_limits: Maximum number of pairs of a set, by the set's name; drawn with the seed before any are held out.
        start: Initialization: ``"random"``; a static model; or a sentence transformer to distil, by path or hub name. By default
            all-MiniLM-L6-v2 if it is available, else random. A static model's prompts and limits (``max_tokens``,
            ``max_characters``) apply in training and are kept.
        tokenizer: For a random start: a ``tokenizer.json``, or a folder or model that has one. By default a vocabulary is learned.
        grow_words: Add the N most frequent multi-token words of the training texts to the vocabulary; see statim.vocabulary. By
            default 10,000 where a teacher is distilled and pairs are trained on, else none.
        grow_pairs: Add the N most frequent word pairs; by default 20,000 where the vocabulary grows with ``distil_epochs``, else
            none.
        prune_vocabulary: Remove tokens that never occur in the training texts, except those needed to spell other texts.
        freeze: Tokens whose embeddings stay fixed, relative to a start with entries of root mean square 1 (to which any is scaled).
        loss: ``contrastive``, ``triplet``, ``margin-mse`` or ``kl`` (the last two with a teacher's scores) for pairs, ``cosent`` or
            ``cosine`` for scored pairs, ``classes`` for labelled texts, ``distillation`` for plain texts. By default the first for
            the data's kind; see statim.training.losses.objectives.
        dim: Embedding dimensions; by default those of the start.
        batch: Pairs (or labelled texts) per step.
        epochs: Passes over the data. By default 3; more for few pairs, up to 18, for about 300 steps; 1 from a million pairs on.
        learning_rate: Adam's peak learning rate, for embeddings whose entries are about 1. For documents, a third of that for pairs
            by default.
        matryoshka: Matryoshka dimensions, at which prefixes are trained to be good by themselves; by default halves of ``dim``.
        weights: Loss weight of each Matryoshka dimension; by default equal.
        scale: Multiply cosines by this in the loss (1 / temperature).
        both_directions: Also train from positives to anchors.
        triplet_margin: Margin of the triplet loss, in cosines; 0.2 by default.
        false_negative_margin: Treat candidates whose cosine exceeds the positive's by more than this as unknown positives, and
            leave them out of that anchor's negatives (``contrastive`` and ``classes``). By default all other candidates are
            negatives.
        precision: ``int8``, ``bf16`` (default) or ``fp32``: what is rounded; see Recipe.
        schedule: The learning rate after warm-up: ``linear`` (default) or ``cosine``, both to 0, or ``constant``.
        warmup: Share of the steps in which the learning rate rises; 0.1 by default.
        weight_decay: Decoupled weight decay (AdamW): each step shrinks all embeddings by this times the learning rate; 0 by default.
        token_dropout: Probability with which each distinct token of a text is left out of its mean for a step; 0 by default.
        clip: Clip the gradient of the whole table to this norm; 1 by default.
        row_wise: Keep one second moment per embedding, which saves a third of the memory; by default one per entry.
        new_rows_rate: Learning-rate multiplier for newly added tokens; 1 by default.
        hard_negatives: Mine N negatives per pair among the positives, with the current table: before the first epoch (after it, for
            a random start) and between epochs. None by default.
        mine_every: Epochs from one mining to the next; 1 by default.
        distil_weight: Weight of the distillation loss beside the pairs' loss; 20 by default.
        distil_epochs: Epochs over the distillation texts alone before the first pair; the vocabulary then grows by their words, not
            the pairs'. 0 by default. A resumed run repeats them.
        length_power: Raise the norms of the trained embeddings to this power; 1 by default. With 0.7 rare words, whose embeddings
            are the longest, count less. Evaluations during training are without it.
        mix: How to mix several sets of pairs: ``together`` (all pairs shuffled, the default), ``proportional`` (each batch from one
            set, in proportion to its pairs) or ``turn`` (each batch from one set, in turn).
        seed: Seed of splits, order and random numbers; 0 by default.
        distil: Plain texts whose embeddings are trained to match a teacher's (files, or a table with a column of texts; see
            ``statim.data.documents.plain.read_plain``); or ``"pairs"``: the pairs' own texts; or ``"sentences"``: 350,000 of their sentences
            and passages. Each step takes a batch of them beside the pairs; without pairs, training is on them alone. Ridge
            regression maps the start to the teacher's embeddings.
        teacher: Teacher for ``distil`` and the losses ``margin-mse`` and ``kl``, by path or hub name; by default the start's
            teacher, else all-MiniLM-L6-v2. With several, for ``distil`` only, the target cosines are the mean of theirs.
        documents_by: Train a model for queries only, against this teacher's document embeddings, which stay fixed. It has the
            teacher's dimensions and is searched with ``Index.build(..., documents_by=teacher)``. It is also distilled (``distil``),
            by default on the pairs' own texts.
        recipe: Preset for options that are not given: ``"general"``, for many sets of pairs into one model.
        heldout: Number of examples to hold out for the final table (0 for none), or a file of them.
        development: Number of examples to hold out for evaluation during training (0 for none), or a file. By default half as many
            as ``heldout``; none where that is a file. Only pairs are evaluated during training.
        evaluate_every: Steps between evaluations. By default a few per epoch, within 5 % of the time. The start and the last step
            are always evaluated.
        keep: ``last`` keeps the table of the last step; ``best`` that of the best evaluation (NDCG@10, the earliest of equals). By
            default ``last``, since a falling learning rate makes the end the best and choosing is optimistic; with ``patience``
            ``best``.
        patience: Stop after N evaluations without improvement.
        baselines: Include BM25 and the teacher in the table; True by default.
        checkpoint_every: Steps between checkpoints (needs ``out``). By default at least 10 s apart, within about 2 % of the time.
        keep_checkpoints: Keep the N newest checkpoints, 2 by default; 0 writes none.
        tensorboard: Write loss, learning rate and evaluations into this folder for TensorBoard.
        resume: Resume an interrupted training into ``out``, to the same bits. It knows its options and files; if given again they
            must be the same, except the learning rate (from there on), threads, baselines, checkpoints and TensorBoard.
        overwrite: Replace an existing ``out``.
        threads: Threads; see statim.threads.
        device: ``cpu``, ``cuda`` or ``auto`` (the default: a GPU if torch sees one). Processes started by torchrun share each
            batch; only the first evaluates, logs and writes.
        progress: Show progress bars on a terminal.

    Returns:
        The model, the held-out table, the recipe and the seconds each part took.

    Raises:
        DataError: The pairs cannot be read, or there are too few.
        ModelError: The start is not a model.
        InputError: An argument is out of range, a resumed run's files or options changed, or training diverged.
        DependencyError: TensorBoard is requested and not installed.
        StorageError: The disk is full, read-only, or not permitted.
    """
    given = TrainOptions(data=data, out=out, **options)
    if not given.resume:
        given = with_preset(given)
    workers = (
        executor.count(given.threads)
        if given.threads is not None
        else distributed.fair_share(executor.count())
    )
    check(given)
    if out is None or not distributed.is_first():
        this = checkpoint.read_run(out) if given.resume and out is not None else Run.begun(given, workers)
        return _train(this.resumed(given) if given.resume else given, this)
    if not given.resume:
        check_output(out, overwrite=given.overwrite)
    with checkpoint.opened(out, resume=given.resume):
        this = checkpoint.read_run(out) if given.resume else Run.begun(given, workers)
        if given.resume:
            given = this.resumed(given)
            # a kill once the model was to be saved may have left one there, which is replaced by the same
            given = replace(given, overwrite=given.overwrite or this.saving)
            check_output(out, overwrite=given.overwrite)
        else:
            checkpoint.write_run(out, this)
        try:
            result = _train(given, this)
        except BaseException as error:
            _leave(out, given.resume, error)
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


def _train(options: TrainOptions, this: Run) -> TrainingResult:
    """Train as the options say; the first of several processes writes to their ``out``."""
    workers, clock = options.threads or this.threads, Clock()
    out = Path(options.out) if options.out is not None and distributed.is_first() else None
    loaded = load(options, clock)
    options, parts = replace(options, loss=loaded.loss), loaded.parts
    begun, guides, recipe = _start(options, this, loaded, workers)
    row_rates = begun.row_rates(options.freeze or (), recipe.new_rows_rate)
    clock("start")
    data = training_data(parts.train, begun.cutting, threads=workers)
    if isinstance(data, TrainingSet) and data.same:
        log.info("%s", data.remark())
    development = _development(options, parts, begun, workers)
    clock("tokenize")
    taught = None
    if guides:
        taught = teacher_targets(data, loaded, guides, begun.cutting, recipe, workers, options.progress)
        data = taught.data
        if development is not None and recipe.asymmetric:
            development.fix_documents(
                guides[0].encode_document(development.task.documents, progress=options.progress)
            )
        clock("teach")
    begun, table = _table(begun, data, recipe, taught, guides, workers)
    before = StaticModel(table.copy(), begun.tokenizer, begun.settings)
    clock("start")
    if recipe.distil_epochs and taught is not None and taught.taught is not None:
        table = distilled_first(table, taught.taught, recipe, row_rates, workers, options.progress)
        clock("distil")
    steps = Schedule(data, recipe).steps * recipe.epochs
    if this.found is None:
        this = replace(this, found=_found(options, loaded, begun, guides, recipe, data, development, steps))
        if out is not None:
            checkpoint.write_run(out, this)
    _say(parts.train, begun, recipe, workers)
    kept, callbacks, this = launch(
        options, this, data, recipe, table, row_rates, development, workers, mine_first=begun.source is not None,
        taught=taught.taught if taught is not None and taught.mixed else None,
    )  # fmt: skip
    model = StaticModel(with_lengths(kept, recipe.length_power), begun.tokenizer, begun.settings)
    clock("train")
    history, best = callbacks.history, callbacks.best
    clock.seconds["train"] = history.seconds  # what an interrupted run took counts too
    comparison = _compare(options, loaded, begun, before, model, guides, taught, recipe)
    others: dict[str, float] = {}
    if development is not None and out is not None and options.baselines is not False:
        others = heldout.references(development, comparison, begun.teacher, options.progress)
    clock("evaluate")
    result = TrainingResult(
        model=model, recipe=recipe, comparison=comparison, pairs=loaded.sizes(), seconds=clock.seconds,
        start=begun.words, teacher=begun.teacher.name if begun.teacher else None,
        losses=np.array(history.losses), steps=steps,
        kept=len(history.losses) if best.table is None else best.step,
        development=history.evaluations, references=others, changes=list(this.rates),
        frozen=0 if row_rates is None else int((row_rates == 0).sum()),
    )  # fmt: skip
    if out is not None:
        checkpoint.write_run(out, replace(this, saving=True))
        _save(out, result, parts.train, options.overwrite)
        clock("save")
    return result


def _start(
    options: TrainOptions, this: Run, loaded: Loaded, threads: int
) -> tuple[Start, tuple[Teacher, ...], Recipe]:
    """Where the table starts, the teachers, and the recipe; of a resumed run they must be those it began with."""
    train = loaded.parts.train
    begun = start_from(options.start, options.tokenizer, train, options.progress)
    begun = with_vocabulary(
        begun, train, words=options.grow_words, pairs=options.grow_pairs, prune=options.prune_vocabulary,
        counted=loaded.plain if options.distil_epochs else None, threads=threads,
    )  # fmt: skip
    guides = find_teachers(options, begun.teacher)
    if this.found is not None:
        _refuse_changed(options.out, this, this.found, loaded.whole, begun, hash_of(guides, loaded.plain))
        recipe = this.found.recipe
    else:
        if isinstance(loaded.whole, Corpus) and begun.dim is not None:
            rate = OWN_RATE if options.learning_rate is None else options.learning_rate
            epochs = OWN_EPOCHS if options.epochs is None else options.epochs
            options = replace(options, learning_rate=rate, epochs=epochs)
        options, asymmetric = taught_by(options, begun.dim, guides)
        recipe = Recipe.of(
            options, len(train), begun.dim, set_weights=loaded.shares, set_limits=loaded.limits,
            asymmetric=asymmetric,
        )  # fmt: skip
    return _for_queries(begun, guides, recipe), guides, recipe


def _table(
    begun: Start,
    data: TrainingData,
    recipe: Recipe,
    taught: TeacherTargets | None,
    guides: tuple[Teacher, ...],
    threads: int,
) -> tuple[Start, Floats]:
    """The table that the first step finds: the start's, brought close to the teacher's vectors where these are learned."""
    table = begun.table(data, recipe)
    if taught is None or taught.taught is None:
        return begun, table
    words = f"{begun.words}, mapped to {' and '.join(teacher.name for teacher in guides)}"
    return replace(begun, words=words), taught.start(table, threads)


def _found(
    options: TrainOptions,
    loaded: Loaded,
    begun: Start,
    guides: tuple[Teacher, ...],
    recipe: Recipe,
    data: TrainingData,
    development: Validation | None,
    steps: int,
) -> Found:
    """What a resumed run must find again."""
    every = options.evaluate_every
    if every is None and development is not None and isinstance(data, TrainingSet):
        every = development.spacing(data, recipe, steps)
    every = every or max(1, steps // (MOST * recipe.epochs))
    return Found(recipe, every, loaded.whole.hash, begun.hash, hash_of(guides, loaded.plain))


def _say(train: Supervision, begun: Start, recipe: Recipe, threads: int) -> None:
    log.info(
        "training on %s %s: %s, %d dimensions, loss %s, batch %d, %d epoch%s, rate %g, %d threads",
        f"{len(train):,}", train.unit, begun.words, recipe.dim, recipe.loss, recipe.batch, recipe.epochs,
        "s" if recipe.epochs > 1 else "", recipe.learning_rate, threads,
    )  # fmt: skip


def _compare(
    options: TrainOptions,
    loaded: Loaded,
    begun: Start,
    before: StaticModel,
    model: StaticModel,
    guides: tuple[Teacher, ...],
    taught: TeacherTargets | None,
    recipe: Recipe,
) -> Comparison | Report | None:
    """The table on what was held out, made by the first of several processes; None where there is none."""
    test, baselines = loaded.parts.test, options.baselines is not False
    if not len(test) or not distributed.is_first():
        return None
    if isinstance(test, PlainTexts) and isinstance(loaded.whole, PlainTexts) and taught and guides:
        role = "query" if recipe.asymmetric else "text"
        aims = taught.targets(guides, test.texts, loaded.whole.texts, role=role, progress=options.progress)
        return heldout.closeness(test, before, model, aims)
    documents = guides[0] if recipe.asymmetric else None
    teacher = (documents or begun.teacher) if baselines else None
    return heldout.standings(loaded.parts, before, model, teacher, baselines, options.progress, documents)


def _development(options: TrainOptions, parts: Split[Any], begun: Start, threads: int) -> Validation | None:
    """What is evaluated during training, if anything.

    Raises:
        InputError: Nothing is held out, but an option needs it.
    """
    if len(parts.development) and isinstance(parts.development, Pairs):
        return Validation(parts.development, begun.cutting, begun.settings, threads)
    for name, needs in (("patience", options.patience), ("keep best", options.keep == "best")):
        if needs:
            raise InputError(
                f"{name} needs evaluations during training, which are of pairs, and none are held out for them; hold some out (--development "
                "COUNT)"
            )
    return None


def _for_queries(begun: Start, teachers: tuple[Teacher, ...], recipe: Recipe) -> Start:
    """The start of a model for queries alone remembers whose documents they are for."""
    if not recipe.asymmetric:
        return begun
    settings = replace(begun.settings, documents_by=str(teachers[0].name), documents_hash=teachers[0].hash)
    return replace(begun, settings=settings)


def _refuse_changed(
    out: str | Path | None, this: Run, found: Found, pairs: Supervision, begun: Start, lessons: str
) -> None:
    """A resumed run must find what it began with."""
    if pairs.hash != found.pairs:
        raise InputError(
            f"the pairs are not those of the interrupted training into {out}{this.changed()}; give the same unchanged, or "
            "start again"
        )
    if begun.hash != found.start:
        raise InputError(
            f"the interrupted training into {out} began from another start ({begun.words} has changed){this.changed()}; give "
            "the same unchanged, or start again"
        )
    if lessons != (lessons if found.lessons is None else found.lessons):
        raise InputError(
            f"the texts to distil or their teacher are not those of the interrupted training into {out}{this.changed()}; give "
            "the same unchanged, or start again"
        )


def _save(out: Path, result: TrainingResult, pairs: Supervision, overwrite: bool) -> None:
    """The model, and beside it the log and its picture."""
    result.model.save(out, card=card(result, pairs), overwrite=overwrite)
    with atomic_file(out / "training.html") as file:
        file.write(curves.page(result).encode("utf-8", "backslashreplace"))
    source = checkpoint.folder(out) / checkpoint.LOG
    with source.open("rb") as written, atomic_file(out / checkpoint.LOG) as file:
        shutil.copyfileobj(written, file)
