"""From pairs or labelled texts to a trained, evaluated, saved static model: the whole of ``statim train``."""

import dataclasses
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from statim import threads as pool
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
from statim.tokenizer.tokenizer import Tokenizer
from statim.training import checkpoint, curves, distributed, heldout, run
from statim.training.asked import check, preset, recipe_of, taught_by
from statim.training.bags import TrainingSet
from statim.training.batches import Schedule
from statim.training.development import MOST, Development
from statim.training.execution import execute
from statim.training.lessons import Lessons, distilled_first, find_teachers, hash_of, lessons
from statim.training.material import Material, read_material
from statim.training.mined import Miner
from statim.training.recipe import Recipe
from statim.training.result import TrainingResult, card
from statim.training.sets import TrainingData, training_data
from statim.training.start import Start, start_from, with_lengths, with_vocabulary
from statim.training.trainer import DivergenceError

log = logging.getLogger("statim")

# For pairs made of documents' own parts, from a start that knows something: more unlearns it (benchmarks/without_pairs.py)
OWN_RATE, OWN_EPOCHS = 0.03, 3

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
    distil_epochs: int | None = None,
    length_power: float | None = None,
    teacher: str | Path | Sequence[str | Path] | None = None,
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
            all-MiniLM-L6-v2 if it can be had, else random. A static model's prompts and limits (``max_tokens``, ``max_characters``)
            hold in training, and are kept.
        tokenizer: For a random start: a ``tokenizer.json``, a folder or model that has one. By default a vocabulary is learned.
        grow_words: Give so many of the training texts' most frequent words, of those that are cut into pieces, rows of their own;
            see statim.vocabulary. By default 10,000 where a teacher is distilled and pairs are trained on, else none.
        grow_pairs: Likewise for pairs of words; by default 20,000 where such a vocabulary grows with ``distil_epochs``, else none.
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
            ``sentences``, ``neighbours``, ``crops`` (see statim.data.pairs_from_documents). By default the usual ones, of documents only.
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
            see ``data.documents.plain.read_plain``), or ``"pairs"``: the pairs' own; or ``"sentences"``: 350,000 of their sentences and passages. Each step takes a batch of them beside the pairs. Without
            pairs they are all that is trained on. The start is mapped to the teacher's vectors by ridge regression.
        distil_weight: How many times their distance from the teacher counts in the loss beside the pairs' own.
        distil_epochs: Epochs over these texts alone before the first pair, in which the vocabulary also grows by their words and not
            the pairs'; 0 by default. A resumed run makes them again.
        length_power: Give the trained table's rows their lengths to this power, 1 by default: with 0.7 rare words, whose rows are the
            longest, count less. Evaluations during training are without it.
        teacher: Who teaches, by path or hub name, for ``distil`` and the losses ``margin-mse`` and ``kl``; by default the start's
            teacher, else all-MiniLM-L6-v2. Of several, for ``distil`` alone, cosines shall be the mean of theirs.
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
    check(SimpleNamespace(**given))
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


def _train(asked: SimpleNamespace, this: dict[str, Any], out: Path | None) -> TrainingResult:
    """Train as ``asked``, and write to ``out``; ``this`` is the run's record, which is completed by what is found."""
    workers, clock = asked.threads or this["threads"], Clock()
    material = read_material(asked, clock)
    parts = material.parts
    begun, guides, recipe = _start(asked, this, material, workers)
    row_rates = begun.row_rates(asked.freeze or (), recipe.new_rows_rate)
    clock("start")
    data = training_data(parts.train, begun.cutting, threads=workers)
    if isinstance(data, TrainingSet) and data.same:
        log.info("%s", data.remark())
    development = _development(asked, parts, begun, workers)
    clock("tokenize")
    taught = None
    if guides:
        taught = lessons(data, material, guides, begun.cutting, recipe, workers, asked.progress)
        data = taught.data
        if development is not None and recipe.asymmetric:
            development.fix_documents(
                guides[0].encode_document(development.task.documents, progress=asked.progress)
            )
        clock("teach")
    begun, table = _table(begun, data, recipe, taught, guides, workers)
    before = StaticModel(table.copy(), begun.tokenizer, begun.settings)
    clock("start")
    if recipe.distil_epochs and taught is not None and taught.taught is not None:
        table = distilled_first(table, taught.taught, recipe, row_rates, workers, asked.progress)
        clock("distil")
    steps = Schedule(data, recipe).steps * recipe.epochs
    _complete(asked, this, out, material, begun, guides, recipe, data, development, steps)
    _say(parts.train, begun, recipe, workers)
    miner = Miner(data, recipe, begun.source is not None, workers)
    beside = taught.taught if taught is not None and taught.mixed else None
    kept, watch = execute(
        asked, this, data, recipe, table, row_rates, development, miner, workers, out, beside
    )
    model = StaticModel(with_lengths(kept, recipe.length_power), begun.tokenizer, begun.settings)
    clock("train")
    history, best = watch.history, watch.best
    clock.seconds["train"] = history.seconds  # what an interrupted run took counts too
    comparison = _compare(asked, material, begun, before, model, guides, taught, recipe)
    others: dict[str, float] = {}
    if development is not None and out is not None and asked.baselines is not False:
        others = heldout.references(development, comparison, begun.teacher, asked.progress)
    clock("evaluate")
    result = TrainingResult(
        model=model, recipe=recipe, comparison=comparison, pairs=material.sizes(), seconds=clock.seconds,
        start=begun.words, teacher=begun.teacher.name if begun.teacher else None,
        losses=np.array(history.losses), steps=steps,
        kept=len(history.losses) if best.table is None else best.step,
        development=history.evaluations, references=others,
        changes=[(step, rate) for step, rate in this["rates"]],
        frozen=0 if row_rates is None else int((row_rates == 0).sum()),
    )  # fmt: skip
    if out is not None:
        checkpoint.write_run(out, this | {"saving": True})
        _save(out, result, parts.train, asked.overwrite)
        clock("save")
    return result


def _start(
    asked: SimpleNamespace, this: dict[str, Any], material: Material, threads: int
) -> tuple[Start, tuple[Teacher, ...], Recipe]:
    """Where the table starts, who teaches beside, and the recipe; of a resumed run they must be those it began with."""
    train, found = material.parts.train, this.get("found")
    begun = start_from(asked.start, asked.tokenizer, train, asked.progress)
    more = {"words": asked.grow_words, "pairs": asked.grow_pairs, "prune": asked.prune_vocabulary}
    counted = material.plain if asked.distil_epochs else None
    begun = with_vocabulary(begun, train, counted=counted, **more, threads=threads)
    guides = find_teachers(asked, begun.teacher)
    if found:
        _refuse_changed(asked.out, this, material.whole, begun, hash_of(guides, material.plain))
        recipe = Recipe.from_dict(found["recipe"])
    else:
        rate, epochs = asked.learning_rate, asked.epochs
        if isinstance(material.whole, Corpus) and begun.dim is not None:
            rate = OWN_RATE if rate is None else rate
            epochs = OWN_EPOCHS if epochs is None else epochs
        own = {"set_weights": material.shares, "set_limits": material.limits}
        own |= {"learning_rate": rate, "epochs": epochs} | taught_by(asked, begun.dim, guides)
        recipe = recipe_of(asked, len(train), begun.dim, **own)
    return _for_queries(begun, guides, recipe), guides, recipe


def _table(
    begun: Start,
    data: TrainingData,
    recipe: Recipe,
    taught: Lessons | None,
    guides: tuple[Teacher, ...],
    threads: int,
) -> tuple[Start, Floats]:
    """The table that the first step finds: the start's, brought close to the teacher's vectors where these are learned."""
    table = begun.table(data, recipe)
    if taught is None or taught.taught is None:
        return begun, table
    words = f"{begun.words}, mapped to {' and '.join(teacher.name for teacher in guides)}"
    return dataclasses.replace(begun, words=words), taught.start(table, threads)


def _complete(
    asked: SimpleNamespace,
    this: dict[str, Any],
    out: Path | None,
    material: Material,
    begun: Start,
    guides: tuple[Teacher, ...],
    recipe: Recipe,
    data: TrainingData,
    development: Development | None,
    steps: int,
) -> None:
    """Write down what was found, so that a resumed run can tell whether it finds the same."""
    if this.get("found"):
        return
    usual = max(1, steps // (MOST * recipe.epochs))
    if development is not None and isinstance(data, TrainingSet):
        usual = development.spacing(data, recipe, steps)
    this["found"] = {"recipe": recipe.to_dict(), "evaluate_every": asked.evaluate_every or usual}
    if out is not None:
        taught = hash_of(guides, material.plain)
        this["found"] |= {"pairs": material.whole.hash, "start": begun.hash, "lessons": taught}
        checkpoint.write_run(out, this)


def _say(train: Supervision, begun: Start, recipe: Recipe, threads: int) -> None:
    log.info(
        "training on %s %s: %s, %d dimensions, loss %s, batch %d, %d epoch%s, rate %g, %d threads",
        f"{len(train):,}", train.unit, begun.words, recipe.dim, recipe.loss, recipe.batch, recipe.epochs,
        "s" if recipe.epochs > 1 else "", recipe.learning_rate, threads,
    )  # fmt: skip


def _compare(
    asked: SimpleNamespace,
    material: Material,
    begun: Start,
    before: StaticModel,
    model: StaticModel,
    guides: tuple[Teacher, ...],
    taught: Lessons | None,
    recipe: Recipe,
) -> Comparison | Report | None:
    """The table on what was held out, made by the first of several processes; None where there is none."""
    test, baselines = material.parts.test, asked.baselines is not False
    if not len(test) or not distributed.is_first():
        return None
    if isinstance(test, PlainTexts) and isinstance(material.whole, PlainTexts) and taught and guides:
        role = "query" if recipe.asymmetric else "text"
        aims = taught.targets(guides, test.texts, material.whole.texts, role=role, progress=asked.progress)
        return heldout.closeness(test, before, model, aims)
    documents = guides[0] if recipe.asymmetric else None
    teacher = (documents or begun.teacher) if baselines else None
    return heldout.standings(material.parts, before, model, teacher, baselines, asked.progress, documents)


def _development(asked: SimpleNamespace, parts: Split[Any], begun: Start, threads: int) -> Development | None:
    """What is evaluated during training, if anything.

    Raises:
        InputError: Nothing is held out, but an option needs it.
    """
    if len(parts.development) and isinstance(parts.development, Pairs):
        return Development(parts.development, begun.cutting, begun.settings, threads)
    for name, needs in (("patience", asked.patience), ("keep best", asked.keep == "best")):
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
    settings = dataclasses.replace(
        begun.settings, documents_by=str(teachers[0].name), documents_hash=teachers[0].hash
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


def _save(out: Path, result: TrainingResult, pairs: Supervision, overwrite: bool) -> None:
    """The model, and beside it the log and its picture."""
    result.model.save(out, card=card(result, pairs), overwrite=overwrite)
    with atomic_file(out / "training.html") as file:
        file.write(curves.page(result).encode("utf-8", "backslashreplace"))
    source = checkpoint.folder(out) / checkpoint.LOG
    with source.open("rb") as written, atomic_file(out / checkpoint.LOG) as file:
        shutil.copyfileobj(written, file)
