"""From pairs of text to a trained, evaluated, saved static model: the whole of ``statim train``."""

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from statim import threads as pool
from statim.data.pairs import PYTHON_DOCS, Pairs
from statim.data.python_docs import python_docs
from statim.data.reading import read_pairs
from statim.data.split import Split
from statim.errors import InputError
from statim.files import atomic_file, check_output
from statim.model import StaticModel
from statim.progress import Progress
from statim.tokenizer import Tokenizer
from statim.training import checkpoint, curves, run
from statim.training.bags import TrainingSet
from statim.training.checkpoint import Checkpoints
from statim.training.development import Development
from statim.training.held_out import compare, hold_out, references
from statim.training.history import History
from statim.training.optimizer import SparseAdam
from statim.training.recipe import Recipe
from statim.training.result import TrainingResult, card
from statim.training.start import Start, begin
from statim.training.trainer import DivergenceError, fit, learning_rates, steps_per_epoch
from statim.training.watch import Best, Watch, tensorboard_writer

log = logging.getLogger("statim")

KEEPS = ("last", "best")

Seconds = dict[str, float]
Floats = npt.NDArray[np.float32]


def train(
    data: Any = None,
    *,
    out: str | Path | None = None,
    start: str | Path | StaticModel | None = None,
    tokenizer: str | Path | Tokenizer | None = None,
    anchor: str | None = None,
    positive: str | None = None,
    negative: str | list[str] | None = None,
    packages: list[str] | None = None,
    dim: int | None = None,
    matryoshka: list[int] | None = None,
    batch: int | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    schedule: str | None = None,
    warmup: float | None = None,
    scale: float | None = None,
    both_directions: bool | None = None,
    precision: str | None = None,
    seed: int | None = None,
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
    progress: bool = False,
) -> TrainingResult:
    """Train a static model on pairs of text.

    Args:
        data: Pairs: one or several files, a table or data frame, tuples (see ``statim.data.read_pairs``), or ``"python-docs"``.
        out: Save the model into this folder, with the log of every step (``training.jsonl``, see statim.training.history) and a
            picture of it (``training.html``). Until then both the log and checkpoints stand in ``out.training``.
        start: ``"random"``; an earlier static model; or a sentence transformer to distil, by path or hub name. By default
            all-MiniLM-L6-v2 if it can be had, else random.
        tokenizer: For a random start: a ``tokenizer.json``, a folder or model that has one. By default a vocabulary is learned.
        anchor: Name of the anchors' column; guessed by default.
        positive: Name of the positives' column; guessed by default.
        negative: Name or names of columns with explicit negatives; guessed by default.
        packages: For ``"python-docs"``: only these packages.
        dim: Dimensions. By default those of the start.
        matryoshka: Dimensions at which prefixes are trained to be good by themselves. By default halves of the full one.
        batch: Pairs per step.
        epochs: Passes over the pairs.
        learning_rate: Peak rate of Adam, for tables whose entries are about 1.
        schedule: What the rate does after warm-up: ``linear`` (default) or ``cosine``, both to 0, or ``constant``.
        warmup: Share of the steps in which the rate rises; 0.1 by default.
        scale: Cosines are multiplied by it in the loss (1 / temperature).
        both_directions: Train from positives to anchors too.
        precision: ``bf16`` or ``fp32``, of the matrix products.
        seed: Decides splits, order and random numbers.
        heldout: Pairs to hold out for the final table (0 for none), or a file of pairs.
        development: Pairs to hold out for evaluations during training (0 for none), or a file of pairs. By default half as many
            as ``heldout``; none where that is a file.
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
    workers = pool.count(threads)
    _check(SimpleNamespace(**given))
    if out is None:
        return _train(SimpleNamespace(**given), run.begun(given, workers))
    if not resume:
        check_output(out, overwrite=overwrite)
    with checkpoint.opened(out, resume=resume):
        this = checkpoint.read_run(out) if resume else run.begun(given, workers)
        asked = SimpleNamespace(**(run.resumed(this, given) if resume else given))
        if resume:
            # a kill after the model had taken its place leaves a whole one, which is replaced by the same
            asked.overwrite = asked.overwrite or (Path(out) / checkpoint.LOG).is_file()
            check_output(out, overwrite=asked.overwrite)
        else:
            checkpoint.write_run(out, this)
        try:
            result = _train(asked, this)
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
    if asked.data is None and not asked.resume:
        raise InputError("no pairs were given; name a file of pairs, or python-docs")
    if asked.packages is not None and asked.data not in (None, PYTHON_DOCS):
        raise InputError(
            "--packages chooses what python-docs reads; give it with the source python-docs alone"
        )
    counts = {"checkpoint-every": 1, "evaluate-every": 1, "patience": 1, "keep-checkpoints": 0}
    for name, least in counts.items():
        value = getattr(asked, name.replace("-", "_"))
        if value is not None and (not isinstance(value, int) or value < least):
            raise InputError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    if asked.keep not in (None, *KEEPS):
        raise InputError(f"keep is {asked.keep!r}; it must be one of {', '.join(KEEPS)}")
    levels, dim = asked.matryoshka, asked.dim
    widest = dim if dim is not None or not levels else max(*levels, 1)
    _recipe(asked, 1000, None, dim=widest)


def _recipe(asked: SimpleNamespace, pairs: int, start_dim: int | None, **given: Any) -> Recipe:
    names = (
        "dim", "batch", "epochs", "learning_rate", "schedule", "warmup", "scale", "both_directions", "precision", "seed",
    )  # fmt: skip
    options = {name: getattr(asked, name) for name in names} | {"levels": asked.matryoshka}
    return Recipe.make(pairs, start_dim, **options | given)


def _train(asked: SimpleNamespace, this: dict[str, Any]) -> TrainingResult:
    """Train as ``asked``; ``this`` is the run's record, which is completed by what is found."""
    workers, found = asked.threads or this["threads"], this.get("found")
    seconds: Seconds = {}
    with _clock(seconds, "read"):
        source = python_docs(asked.packages) if asked.packages else asked.data
        pairs = read_pairs(source, anchor=asked.anchor, positive=asked.positive, negative=asked.negative)
        log.info("%s", pairs.report)
    with _clock(seconds, "split"):
        parts = hold_out(
            pairs,
            asked.heldout,
            asked.development,
            seed=asked.seed or 0,
            anchor=asked.anchor,
            positive=asked.positive,
        )
    with _clock(seconds, "start"):
        begun = begin(asked.start, asked.tokenizer, parts.train, asked.progress)
        if found:
            _refuse_changed(asked.out, this, pairs, begun)
        recipe = Recipe.from_dict(found["recipe"]) if found else _recipe(asked, len(parts.train), begun.dim)
    with _clock(seconds, "tokenize"):
        data = TrainingSet.of(parts.train, begun.tokenizer, threads=workers)
        development = _development(asked, parts, begun, workers)
    with _clock(seconds, "start"):
        table = begun.table(data, recipe)
        begun_model = StaticModel(table.copy(), begun.tokenizer, begun.settings)
    steps = steps_per_epoch(len(data), recipe) * recipe.epochs
    if not found:
        every = asked.evaluate_every or (development.spacing(data, recipe, steps) if development else 1)
        this["found"] = {"recipe": recipe.to_dict(), "evaluate_every": every}
        if asked.out is not None:
            this["found"] |= {"pairs": pairs.hash, "start": begun.hash}
            checkpoint.write_run(asked.out, this)
    log.info(
        "training on %s pairs: %s, %d dimensions, batch %d, %d epoch%s, rate %g, %d threads",
        f"{len(parts.train):,}", begun.words, recipe.dim, recipe.batch, recipe.epochs, "s" if recipe.epochs > 1 else "",
        recipe.learning_rate, workers,
    )  # fmt: skip
    optimizer, watch = _loop(asked, this, data, recipe, steps, table, development, workers)
    history, best = watch.history, watch.best
    seconds["train"] = history.seconds
    kept = optimizer.current() if best.table is None else best.table
    model = StaticModel(kept, begun.tokenizer, begun.settings)
    comparison, others = None, {}
    with _clock(seconds, "evaluate"):
        baselines = asked.baselines is not False
        teacher = begun.teacher if baselines else None
        if len(parts.test):
            comparison = compare(parts, begun_model, model, teacher, baselines, asked.progress)
        if development is not None and asked.out is not None and baselines:
            others = references(development, comparison, teacher, asked.progress)
    result = TrainingResult(
        model=model,
        recipe=recipe,
        comparison=comparison,
        pairs={
            "read": len(pairs), "train": len(parts.train), "development": len(parts.development),
            "test": len(parts.test), "moved": parts.moved,
        },
        seconds=seconds,
        start=begun.words,
        teacher=begun.teacher.name if begun.teacher else None,
        losses=np.array(history.losses),
        steps=len(optimizer.rates) - 1,
        kept=optimizer.step if best.table is None else best.step,
        development=history.evaluations,
        references=others,
        changes=[(step, rate) for step, rate in this["rates"]],
    )  # fmt: skip
    if asked.out is not None:
        with _clock(seconds, "save"):
            _save(Path(asked.out), result, pairs, asked.overwrite)
    return result


@contextmanager
def _clock(seconds: Seconds, name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started


def _development(asked: SimpleNamespace, parts: Split, begun: Start, threads: int) -> Development | None:
    """What is evaluated during training, if anything.

    Raises:
        InputError: Nothing is held out, but an option needs it.
    """
    if len(parts.development):
        return Development(parts.development, begun.tokenizer, begun.settings, threads)
    for name, needs in (("patience", asked.patience), ("keep best", asked.keep == "best")):
        if needs:
            raise InputError(
                f"{name} needs evaluations during training, and no pairs are held out for them; hold some out (--development COUNT)"
            )
    return None


def _refuse_changed(out: str | Path, this: dict[str, Any], pairs: Pairs, begun: Start) -> None:
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


def _loop(
    asked: SimpleNamespace,
    this: dict[str, Any],
    data: TrainingSet,
    recipe: Recipe,
    steps: int,
    table: Floats,
    development: Development | None,
    threads: int,
) -> tuple[SparseAdam, Watch]:
    """Train, from the newest checkpoint where there is one."""
    out = asked.out
    if asked.resume:
        run.change_rate(out, this, recipe, asked.learning_rate)
    rates = learning_rates(steps, recipe, this["rates"])
    keep = asked.keep or ("best" if asked.patience else "last")
    optimizer, best = SparseAdam(table, rates, threads, recipe.clip), Best(keep == "best")
    before = checkpoint.load(out, rates, threads, recipe.clip) if asked.resume else None
    if before is not None:
        optimizer, state, extra = before
        best = Best(keep == "best", **state["best"], table=extra.get("best"))
    batch = min(recipe.batch, len(data))
    with ExitStack() as stack:
        history = History(checkpoint.folder(out) / checkpoint.LOG if out else None, step=optimizer.step)
        stack.enter_context(closing(history))
        bar = Progress("train", total=(steps - optimizer.step) * batch, unit="pairs", show=asked.progress)
        watch = Watch(
            recipe, len(data), history, best,
            development=development, every=this["found"]["evaluate_every"], patience=asked.patience,
            bar=stack.enter_context(bar),
        )  # fmt: skip
        if out is not None:
            kept = checkpoint.KEEP if asked.keep_checkpoints is None else asked.keep_checkpoints
            watch.checkpoints = Checkpoints(out, asked.checkpoint_every, kept)
            stack.enter_context(closing(watch.checkpoints))
        if asked.tensorboard is not None:
            watch.board = stack.enter_context(closing(tensorboard_writer(asked.tensorboard, optimizer.step)))
        watch.begin(optimizer)
        if not watch.stops:
            fit(data, optimizer, recipe, on_step=watch)
    return optimizer, watch


def _save(out: Path, result: TrainingResult, pairs: Pairs, overwrite: bool) -> None:
    """The model, and beside it the log and its picture."""
    result.model.save(out, card=card(result, pairs.report), overwrite=overwrite)
    with atomic_file(out / "training.html") as file:
        file.write(curves.page(result).encode())
    source = checkpoint.folder(out) / checkpoint.LOG
    with source.open("rb") as written, atomic_file(out / checkpoint.LOG) as file:
        shutil.copyfileobj(written, file)
