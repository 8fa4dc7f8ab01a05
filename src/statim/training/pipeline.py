"""A training from reading its data to saving the model; ``train.train`` checks options and folder."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.data.detect_task import Supervision
from statim.data.documents.corpus import Corpus
from statim.data.pairs.pairs import Pairs
from statim.data.split import Split
from statim.errors import InputError
from statim.files import atomic_file
from statim.model import StaticModel
from statim.progress import Clock
from statim.teacher.teacher import Teacher
from statim.training.continued import continued, rarer_slower
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
    weights_of,
)
from statim.training.hyperparameters import START
from statim.training.initial_tables import with_lengths
from statim.training.judge import Judge
from statim.training.options import TrainOptions
from statim.training.recipe import Recipe
from statim.training.result import TrainingResult, card
from statim.training.run import checkpoint, curves, trained_on
from statim.training.run.baselines import baselines_of
from statim.training.run.checks import taught_by
from statim.training.run.launch import launch
from statim.training.run.load import Loaded, load
from statim.training.run.record import Found, Run
from statim.training.run.validation import MOST, Validation
from statim.training.start import Start, with_vocabulary
from statim.training.suited import suited_start

log = logging.getLogger("statim")

# For pairs made of documents' own parts, from a start that knows something: more unlearns it
# (benchmarks/without_pairs.py)
OWN_RATE, OWN_EPOCHS = 0.03, 3

Floats = npt.NDArray[np.float32]


def run_pipeline(options: TrainOptions, this: Run) -> tuple[TrainingResult, Callable[[], None]]:
    """Train as the options say; the first of several processes writes to their ``out``.

    Returns:
        What training gave, already saved, and what measures the baselines and adds them to its table.
    """
    workers, clock = options.threads or this.threads, Clock()
    out = Path(options.out) if options.out is not None and distributed.is_first() else None
    loaded = load(options, clock)
    options, parts = replace(options, loss=loaded.loss), loaded.parts
    begun, guides, recipe = _start(options, this, loaded, workers)
    row_rates = begun.row_rates(options.freeze or (), recipe.new_rows_rate, recipe.rare_rows)
    clock("start")
    data = training_data(parts.train, begun.cutting, threads=workers)
    if isinstance(data, TrainingSet) and data.same:
        log.info("%s", data.remark())
    row_rates = rarer_slower(row_rates, data.bags, recipe.rare_rows, begun.old_rows)
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
        options, this, data, recipe, table, row_rates, development, workers,
        mine_first=begun.source is not None, old_rows=begun.old_rows,
        taught=taught.taught if taught is not None and taught.mixed else None,
    )  # fmt: skip
    kept = with_lengths(kept, recipe.length_power)
    model = continued(begun, before.table, kept) if recipe.decay_to == START else None
    model = model or StaticModel(kept, begun.tokenizer, begun.settings)
    clock("train")
    history, best = callbacks.history, callbacks.best
    clock.seconds["train"] = history.seconds  # what an interrupted run took counts too
    judge = Judge(
        loaded, before, model, development, begun.teacher, guides, recipe.asymmetric,
        baselines_of(options.baselines), options.progress,
    )  # fmt: skip
    searched = replace(model.settings, search=judge.search_settings() or model.settings.search)
    model = StaticModel(model.table, begun.tokenizer, searched)
    comparison = judge.static_rows(taught)
    clock("evaluate")
    result = TrainingResult(
        model=model, recipe=recipe, comparison=comparison, pairs=loaded.sizes(), seconds=clock.seconds,
        start=begun.words, teacher=begun.teacher.name if begun.teacher else None,
        losses=np.array(history.losses), steps=steps,
        kept=len(history.losses) if best.table is None else best.step,
        development=history.evaluations, references=judge.references, changes=list(this.rates),
        frozen=0 if row_rates is None else int((row_rates == 0).sum()),
    )  # fmt: skip
    if out is not None:
        checkpoint.write_run(out, replace(this, saving=True))
        _save(out, result, parts.train, options.overwrite)
        trained_on.write(out, this)
        clock("save")

    def measure_baselines() -> None:
        clock.skip()
        result.comparison = judge.whole_table(comparison)
        clock("baselines")
        if out is not None and (result.comparison is not comparison or judge.names):
            _write_table(out, result, parts.train)

    return result, measure_baselines


def _start(
    options: TrainOptions, this: Run, loaded: Loaded, threads: int
) -> tuple[Start, tuple[Teacher, ...], Recipe]:
    """The initial table, the teachers and the recipe; a resumed run must find the ones it began with."""
    train = loaded.parts.train
    begun = suited_start(options, train, this.found.vocabulary if this.found is not None else None)
    begun = with_vocabulary(
        begun, train, words=options.grow_words, pairs=options.grow_pairs, prune=options.prune_vocabulary,
        counted=loaded.plain if options.distil_epochs else None, threads=threads,
        needed=options.decay_to != START,
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
            asymmetric=asymmetric, teacher_weights=weights_of(options.teacher),
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
    """The table before the first step: the start's, mapped to the teacher's vectors if these are learned."""
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
    lessons = hash_of(guides, loaded.plain)
    return Found(recipe, every, loaded.whole.hash, begun.hash, lessons, begun.vocabulary)


def _say(train: Supervision, begun: Start, recipe: Recipe, threads: int) -> None:
    log.info(
        "training on %s %s: %s, %d dimensions, loss %s, batch %d, %d epoch%s, rate %g, %s, %d threads",
        f"{len(train):,}", train.unit, begun.words, recipe.dim, recipe.loss, recipe.batch, recipe.epochs,
        "s" if recipe.epochs > 1 else "", recipe.learning_rate, recipe.precision, threads,
    )  # fmt: skip


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
                f"{name} needs evaluations during training, which are of pairs, and none are held out "
                "for them; hold some out (--development "
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
            f"the pairs are not those of the interrupted training into {out}{this.changed()}; give the "
            "same unchanged, or "
            "start again"
        )
    if begun.hash != found.start:
        raise InputError(
            f"the interrupted training into {out} began from another start ({begun.words} has "
            f"changed){this.changed()}; give "
            "the same unchanged, or start again"
        )
    if lessons != (lessons if found.lessons is None else found.lessons):
        raise InputError(
            "the texts to distil or their teacher are not those of the interrupted training into "
            f"{out}{this.changed()}; give "
            "the same unchanged, or start again"
        )


def _save(out: Path, result: TrainingResult, pairs: Supervision, overwrite: bool) -> None:
    """The model, and beside it the log and its picture."""
    result.model.save(out, card=card(result, pairs), overwrite=overwrite)
    _write_table(out, result, pairs)
    source = checkpoint.folder(out) / checkpoint.LOG
    with source.open("rb") as written, atomic_file(out / checkpoint.LOG) as file:
        shutil.copyfileobj(written, file)


def _write_table(out: Path, result: TrainingResult, pairs: Supervision) -> None:
    """The card and the picture, with the table as far as it was measured."""
    with atomic_file(out / "README.md") as file:
        file.write(card(result, pairs).encode("utf-8", "backslashreplace"))
    with atomic_file(out / "training.html") as file:
        file.write(curves.page(result).encode("utf-8", "backslashreplace"))
