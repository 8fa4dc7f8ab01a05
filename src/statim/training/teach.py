"""Fine-tune a teacher on pairs by sentence-transformers' own trainer.

The loss is multiple negatives ranking (Henderson et al., 2017), with gradient caching (Gao et al., 2021) for
large batches; hard negatives are mined with the teacher as it is, behind the guards of ``statim mine``. What
a run needs to resume is in
``OUT.teaching`` until the model is saved at OUT:

    OUT.teaching/
    ├── run.json            hashes of the pairs and of the teacher, and the options
    ├── pairs.parquet       what is trained on: anchor, positive, negatives
    └── checkpoint-300/     the trainer's own
"""

import statim.training.needs_torch  # noqa: F401

# isort: split

import contextlib
import logging
import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pyarrow as pa

from statim import threads as executor
from statim.counted import counted
from statim.data.files.text_file import read_as
from statim.data.labelled.retrieval import from_pairs
from statim.data.pairs.pairs import Pairs
from statim.data.pairs.reading import read_pairs
from statim.data.split import Split
from statim.errors import DataError, DependencyError, InputError, ModelError
from statim.evaluation.comparison import Comparison, compare
from statim.evaluation.encoders import Encoder
from statim.files import atomic_directory, check_output
from statim.mining.mine import mine_hard_negatives
from statim.model import StaticModel
from statim.option import check_values, documented
from statim.progress import Progress
from statim.teacher.loading import quick_bfloat16
from statim.teacher.teacher import Teacher
from statim.training import teaching
from statim.training.datasets.sets import training_data
from statim.training.device.fit import choose
from statim.training.recipe import Recipe
from statim.training.run.heldout import hold_out
from statim.training.start import start_from, with_vocabulary
from statim.training.teach_options import PRECISIONS, TeachKeywords, TeachOptions

log = logging.getLogger("statim")

CACHED = 64  # pairs; larger batches go through the network in parts of this size
RANKS = 20  # negatives are drawn from this many closest that the margin leaves

NEEDS = (
    "the trainer of sentence-transformers needs {}, which is not installed; pip install "
    "'sentence-transformers[train]'"
)

Seconds = dict[str, float]


@dataclass(frozen=True, eq=False)
class TeachResult:
    """An adapted teacher, and how good it is.

    Attributes:
        out: Where it lies.
        comparison: Before and after, BM25, and the static models distilled from both if asked for, on
            held-out pairs; None where none are held out.
        pairs: How many were read, trained on and held out, and how many have a mined negative.
        options: The numbers that decided the training.
        losses: The mean loss between two logs of the trainer.
        seconds: What each part took.
    """

    out: Path
    comparison: Comparison | None
    pairs: dict[str, int]
    options: dict[str, Any]
    losses: list[float] = field(repr=False)
    seconds: Seconds

    def __str__(self) -> str:
        """What happened, the table, the seconds."""
        taken = max(self.seconds["train"], 1e-9)
        done = self.pairs["train"] * self.options["epochs"]
        lines = [
            (
                f"taught {self.options['teacher']} on {counted(self.pairs['train'], 'pairs')} "
                f"in {taken:.1f} s ({done / taken:,.1f} pairs/s)"
            ),
            "seconds: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.seconds.items()),
        ]
        return "\n".join(lines + (["", str(self.comparison)] if self.comparison else []))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "out": str(self.out),
            "pairs": self.pairs,
            "options": self.options,
            "losses": self.losses,
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
            "heldout": self.comparison.to_dict() if self.comparison else None,
        }


@documented(TeachOptions, TeachKeywords)
def teach(
    data: Any, teacher: str | Path, *, out: str | Path, **options: Unpack[TeachKeywords]
) -> TeachResult:
    """Fine-tune a sentence transformer on pairs; compare it with its former self and BM25 on held-out ones.

    Args:
        data: Pairs; see ``statim.data.read_pairs``.
        teacher: A sentence transformer, by path or hub name; see
            ``statim.teacher.folder.resolve_teacher``. Its pooling, prompts and longest text stay as they are.
        out: The folder to save it into, in sentence-transformers' own layout, weights as safetensors.
        anchor: The column of anchors; guessed by default.
        positive: The column of positives; guessed by default.
        delimiter: The character between the fields of CSV files; detected by default.
        encoding: The encoding of text files; by default UTF-8, or UTF-16 with a byte-order mark.
        negative: The column or columns of negatives; guessed by default.
        hard_negatives: Negatives to mine for each pair; by default 1, or 0 where the pairs have some of their
            own.
        batch: Pairs per step; more than CACHED go through the network in parts, which costs time and no
            memory.
        epochs: Passes over the pairs.
        learning_rate: AdamW's peak rate; it rises over a tenth of the steps and falls to 0.
        scale: Cosines are multiplied by it in the loss (1 / temperature).
        precision: ``bf16``, ``fp16`` (on a GPU) or ``fp32``, of the network's products (autocast; weights
            stay in float32). By default bf16 where the device multiplies it natively, else fp16 on a GPU and
            fp32 on a processor.
        seed: Decides what is held out, the order and what is mined.
        heldout: How many pairs to hold out for the table, 0 for none, or a file of pairs; by default as for
            ``statim.train``.
        distil: Also save the static model distilled from the adapted teacher into this folder, untrained, and
            put it into the table beside that of the teacher as it was.
        checkpoint_every: Steps between checkpoints; by default ten in all, at most 100 apart.
        resume: Resume an interrupted run into ``out``; give the same data and options again.
        overwrite: Replace existing outputs at ``out`` and ``distil``.
        threads: Threads; see statim.threads.
        device: ``cpu``, ``cuda`` or ``auto`` (the default: a GPU if torch sees one).
        progress: Show progress bars on a terminal.

    Returns:
        Where the model lies, the held-out table, and the seconds each part took.

    Raises:
        DataError: The pairs cannot be read, or are too few.
        ModelError: There is no such teacher, or no interrupted run to resume.
        InputError: An argument is out of range, a resumed run's data or options changed, or training
            diverged.
        DependencyError: sentence-transformers, or what its trainer needs, is not installed.
        StorageError: The disk is full, read-only, or not permitted.
    """
    given = TeachOptions(**options)
    workers, target = executor.count(given.threads), choose(given.device or "auto")
    asked = replace(given, precision=_precision(given.precision, target.type))
    check_values(asked)
    places = [Path(place) for place in (out, asked.distil) if place is not None]
    for place in places:
        check_output(place, overwrite=asked.overwrite)
    if len({place.absolute() for place in places}) < len(places):
        raise InputError(f"--out and --distil are both {out}; name two folders")
    seconds: Seconds = {}
    with _clock(seconds, "read"):
        before = Teacher.load(teacher, device=str(target))
        data, heldout = (read_as(one, asked.delimiter, asked.encoding) for one in (data, asked.heldout))
        pairs = read_pairs(data, anchor=asked.anchor, positive=asked.positive, negative=asked.negative)
        log.info("%s", pairs.report)
        names = {"anchor": asked.anchor, "positive": asked.positive}
        parts: Split[Pairs] = hold_out(pairs, heldout, 0, seed=asked.seed, kind="pairs", names=names)
    about = {
        "options": asked.numbers(teacher),
        "pairs": pairs.hash,
        "train": parts.train.hash,
        "teacher": before.hash,
    }
    with teaching.opened(Path(out), about, resume=asked.resume) as run:
        with _clock(seconds, "mine"):
            rows, found = run.pairs(
                lambda: _rows(parts.train, before, asked.hard_negatives, asked.seed, workers, asked.progress)
            )
        with _clock(seconds, "train"):
            trained, losses = _train(rows, teacher, asked, run, workers, target.type, asked.progress)
        counts = {
            "read": len(pairs), "train": len(parts.train), "test": len(parts.test), "moved": parts.moved,
            "mined": found,
        }  # fmt: skip
        with atomic_directory(out, overwrite=asked.overwrite) as folder:
            with _clock(seconds, "save"), _quiet_trainer():
                _save(trained, folder)
            with _clock(seconds, "evaluate"):
                after = Teacher.load(folder, device=str(target))
                table, static = _judged(before, after, parts, asked, workers)
            result = TeachResult(Path(out), table, counts, asked.numbers(teacher), losses, seconds)
            (folder / "README.md").write_text(
                _card(result, pairs), encoding="utf-8", errors="backslashreplace"
            )
        if asked.distil is not None and static is not None:
            static.save(asked.distil, overwrite=asked.overwrite)
        run.done = True
    return result


def _judged(
    before: Teacher, after: Teacher, parts: Split[Pairs], asked: TeachOptions, threads: int
) -> tuple[Comparison | None, StaticModel | None]:
    """The held-out table, None without held-out pairs; and the distilled model, None unless asked for."""
    encoders: dict[str, Encoder] = {"before": before, "taught": after}
    static: StaticModel | None = None
    if asked.distil is not None:
        ways: dict[str, Any] = {"seed": asked.seed, "threads": threads, "progress": asked.progress}
        encoders["before, distilled"] = _distilled(before, parts.train, **ways)
        encoders["taught, distilled"] = static = _distilled(after, parts.train, **ways)
    if not len(parts.test):
        return None, static
    table = compare(encoders, from_pairs(parts.test), reference="taught", progress=asked.progress)
    return table, static


def _precision(asked: str | None, device: str) -> str:
    """The precision of the products.

    Raises:
        InputError: It is none of PRECISIONS, or fp16 on a processor.
    """
    if asked is None:
        return "bf16" if quick_bfloat16(device) else "fp16" if device == "cuda" else "fp32"
    if asked not in PRECISIONS:
        raise InputError(f"precision is {asked!r}; it must be one of {', '.join(PRECISIONS)}")
    if asked == "fp16" and device == "cpu":
        raise InputError("precision is 'fp16', which is for GPUs; give bf16 or fp32")
    return asked


def _rows(
    pairs: Pairs, teacher: Teacher, wanted: int | None, seed: int, threads: int, progress: bool
) -> tuple[pa.Table, int]:
    """What the trainer reads: anchor, positive, negatives; and how many pairs have one that was mined.

    The trainer wants all columns full, so a pair without a negative gets the positive of another anchor,
    drawn by the seed: its loss has those as negatives anyway.
    """
    given = [column.to_pylist() for column in pairs.negatives]
    wanted = (0 if given else 1) if wanted is None else wanted
    mined: dict[tuple[str, str], list[str]] = {}
    if wanted:
        try:
            found = mine_hard_negatives(
                pairs, teacher, num_negatives=wanted, range_max=max(RANKS, wanted), sampling="random",
                seed=seed, threads=threads,
                progress=progress,
            )  # fmt: skip
            log.info("%s", found.report)
            for anchor, positive, text in zip(
                *(found.table.column(i).to_pylist() for i in range(3)), strict=True
            ):
                mined.setdefault((anchor, positive), []).append(text)
        except DataError as reason:
            log.info("no hard negatives: %s", reason)
    anchors, positives = pairs.anchors.to_pylist(), pairs.positives.to_pylist()
    known: dict[str, set[str]] = {}  # of each anchor; neither case nor white space tells texts apart
    for anchor, positive in zip(map(_folded, anchors), map(_folded, positives), strict=True):
        known.setdefault(anchor, {anchor}).add(positive)
    own = [mined.get(pair, []) for pair in zip(anchors, positives, strict=True)]
    places = len(given) + (wanted if mined else 0)
    random = np.random.default_rng(seed)
    columns: list[list[str]] = [[] for _ in range(places)]
    for row, anchor in enumerate(anchors):
        belongs = known[_folded(anchor)]
        texts = [text for column in given if (text := column[row]) is not None] + own[row]
        texts = [text for text in texts if _folded(text) not in belongs]
        for column, text in zip(columns, _filled(texts, places, positives, belongs, random), strict=True):
            column.append(text)
    table = {"anchor": anchors, "positive": positives}
    table |= {f"negative_{place}": column for place, column in enumerate(columns, 1)}
    return pa.table({name: pa.array(column, pa.large_string()) for name, column in table.items()}), sum(
        map(bool, own)
    )


def _folded(text: str) -> str:
    """The text without what case and white space add to it."""
    return " ".join(text.lower().split())


def _filled(
    texts: list[str], count: int, positives: list[str], known: set[str], random: np.random.Generator
) -> list[str]:
    """So many negatives: ``texts`` and then others' positives."""
    found = texts[:count]
    for _ in range(100):
        if len(found) == count:
            break
        text = positives[int(random.integers(len(positives)))]
        if _folded(text) not in known:
            found.append(text)
    while len(found) < count:  # nearly all texts are this anchor's
        found.append(positives[int(random.integers(len(positives)))])
    return found


def _train(
    rows: pa.Table,
    teacher: str | Path,
    options: TeachOptions,
    run: teaching.Run,
    threads: int,
    device: str,
    progress: bool,
) -> tuple[Any, list[float]]:
    """Train a fresh copy of the teacher; gives it, and the losses that the trainer logged."""
    import torch

    steps = math.ceil(len(rows) / options.batch) * options.epochs
    before = torch.get_num_threads()
    model = Teacher.load(teacher, device=device).transformer
    model.model_card_data.generate_widget_examples = False  # the trainer's card is not kept
    model.model_card_data.local_files_only = True
    with _quiet_trainer(), Progress("teach", total=steps, unit="steps", show=progress) as bar:
        trainer = _trainer(
            model,
            rows,
            options,
            run.folder,
            options.checkpoint_every or max(1, min(100, steps // 10)),
            device,
            bar,
        )
        try:
            torch.set_num_threads(threads)
            trainer.train(resume_from_checkpoint=run.checkpoint())
        finally:
            torch.set_num_threads(before)
    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    weights = model.state_dict().values()
    if not all(map(math.isfinite, losses)) or not all(
        bool(torch.isfinite(w).all()) for w in weights if w.is_floating_point()
    ):
        raise InputError(
            f"the training diverged at a rate of {options.learning_rate:g} (the loss or a weight is no "
            "number any more); give a smaller one (--learning-rate)"
        )
    return model, losses


def _trainer(
    model: Any, rows: pa.Table, options: TeachOptions, folder: Path, every: int, device: str, bar: Progress
) -> Any:
    """sentence-transformers' trainer.

    Raises:
        DependencyError: It cannot be imported, or what it needs.
    """
    if find_spec("accelerate") is None:
        raise DependencyError(NEEDS.format("accelerate"))
    try:
        from datasets import Dataset
        from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
        from sentence_transformers.sentence_transformer import losses
        from sentence_transformers.training_args import BatchSamplers
        from transformers import PrinterCallback, TrainerCallback
    except ImportError as error:
        raise DependencyError(NEEDS.format(error.name or error)) from None

    class Steps(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            bar.advance(1)

    batch, precision = options.batch, options.precision
    steps = math.ceil(len(rows) / batch) * options.epochs
    loss: Any = losses.MultipleNegativesRankingLoss(model, scale=options.scale)
    if batch > CACHED:
        loss = losses.CachedMultipleNegativesRankingLoss(model, scale=options.scale, mini_batch_size=CACHED)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=batch,
        learning_rate=options.learning_rate,
        warmup_steps=math.ceil(0.1 * steps),
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=device == "cpu",
        dataloader_pin_memory=device != "cpu",
        seed=options.seed,
        data_seed=options.seed,
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        logging_steps=max(1, steps // 50),
        report_to="none",
        disable_tqdm=True,
    )
    columns = {name: rows.column(name).to_pylist() for name in rows.column_names}
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_dict(columns), loss=loss, callbacks=[Steps()]
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


@contextlib.contextmanager
def _quiet_trainer() -> Iterator[None]:
    """No remarks of the trainer's libraries: what matters is said by statim."""
    import datasets
    import transformers

    logging_ = transformers.utils.logging
    level, shown = logging_.get_verbosity(), logging_.is_progress_bar_enabled()
    bars = datasets.are_progress_bars_disabled()
    logging_.set_verbosity_error()
    logging_.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging_.set_verbosity(level)
        if shown:
            logging_.enable_progress_bar()
        if not bars:
            datasets.enable_progress_bars()


def _save(model: Any, folder: Path) -> None:
    model.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)
    if not any(folder.rglob("*.safetensors")) or any(folder.rglob("*.bin")):
        raise ModelError(
            f"{type(model).__name__} did not save its weights as safetensors; choose another teacher"
        )


def _distilled(teacher: Teacher, pairs: Pairs, seed: int, threads: int, progress: bool) -> StaticModel:
    """The static model that a training on these pairs would start from."""
    begun = start_from(teacher.folder, None, pairs, progress)
    begun = with_vocabulary(begun, pairs, words=None, pairs=None, prune=None, threads=threads)
    data = training_data(pairs, begun.cutting, threads=threads)
    table = begun.table(data, Recipe.make(len(pairs), begun.dim, seed=seed))
    return StaticModel(table, begun.tokenizer, begun.settings)


def _card(result: TeachResult, pairs: Pairs) -> str:
    """The model card: from what, on what, how, and how good."""
    options = "".join(f"- {name.replace('_', ' ')}: {value}\n" for name, value in result.options.items())
    text = f"""---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags:
- sentence-transformers
- statim
---

# {result.options["teacher"]}, taught

A sentence transformer fine-tuned with `statim teach` on {result.pairs["train"]:,} pairs,
{result.pairs["mined"]:,} of them with a mined negative. `statim train PAIRS --start "this folder"`
starts a static model from it.

{pairs.report}

{options}"""
    if result.comparison:
        text += f"\n## On held-out pairs\n\n{result.comparison.markdown()}\n"
    return text


@contextlib.contextmanager
def _clock(seconds: Seconds, name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started
