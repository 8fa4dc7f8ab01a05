"""From pairs or labelled texts to a trained, evaluated, saved static model: the whole of ``statim train``."""

import statim.training.needs_torch  # noqa: F401

# isort: split

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from statim import threads as executor
from statim.errors import InputError
from statim.files import check_output
from statim.option import documented
from statim.training.device import distributed
from statim.training.keywords import TrainKeywords
from statim.training.loop.trainer import DivergenceError
from statim.training.options import TrainOptions, with_preset
from statim.training.pipeline import run_pipeline
from statim.training.result import TrainingResult
from statim.training.run import checkpoint
from statim.training.run.checks import check
from statim.training.run.record import Run

log = logging.getLogger("statim")


@documented(TrainOptions, TrainKeywords)
def train(
    data: Any = None, *, out: str | Path | None = None, **options: Unpack[TrainKeywords]
) -> TrainingResult:
    """Train a static model on pairs, scored pairs, labelled texts or documents without pairs.

    Every option may be left out; None asks for the default.

    Args:
        data: One or several files, a table or data frame, tuples (see ``statim.data.read_pairs``), or
            ``"python-docs"``. Documents are a folder of text files, a text file, or a table with one column
            of text (see ``statim.data.read_corpus``). A mapping names several sets: ``{"faq": "faq.csv",
            "docs": "python-docs"}``.
        out: Folder to save the model into, with the log of every step (``training.jsonl``, see
            statim.training.run.history) and a picture of it (``training.html``). During training, the log and
            the checkpoints are in ``out.training``.
        anchor: Column of anchors, of the first texts of scored pairs, of texts with labels, or of documents'
            titles. Guessed for each set by default. For pairs, ``anchor``, ``positive`` and ``negative`` may
            be mappings from names of sets.
        positive: Column of positives, of the second texts of scored pairs, or of documents; guessed by
            default.
        negative: Column or columns of explicit negatives; guessed by default.
        score: Column of scores; guessed by default.
        label: Column of labels; guessed by default.
        delimiter: The character between the fields of CSV files; detected by default.
        encoding: The encoding of text files; by default UTF-8, or UTF-16 with a byte-order mark.
        packages: For ``"python-docs"``: read only these packages.
        make_pairs: Read the data as documents, even if it looks like pairs, and make these kinds of pairs
            from them: ``titles``, ``sentences``, ``neighbours``, ``crops`` (see
            statim.data.pairs_from_documents). By default the usual kinds, for documents only. Documents are
            held out, not pairs.
        set_weights: How many times the pairs of a set are taken per epoch, by the set's name; 1 by default,
            fractions are allowed. With the mix ``turn``: how many turns a set has.
        set_limits: Maximum number of pairs of a set, by the set's name; drawn with the seed before any are
            held out.
        start: Initialization: ``"random"``; a static model; or a sentence transformer to distil, by path or
            hub name. By default all-MiniLM-L6-v2 if it is available, else random; where that cannot read the
            texts, a vocabulary is learned from them (see statim.training.suited). A static model's prompts
            and limits (``max_tokens``, ``max_characters``) apply in training and are kept.
        tokenizer: For a random start: a ``tokenizer.json``, or a folder or model that has one. By default a
            vocabulary is learned.
        accents: ``keep`` or ``strip`` accents and other marks on letters, where a vocabulary is learned or a
            teacher strips them. By default they are kept where 1 % of the words have some.
        grow_words: Add the N most frequent multi-token words of the training texts to the vocabulary; see
            statim.vocabulary. By default 10,000 where a teacher is distilled and pairs are trained on, else
            none.
        grow_pairs: Add the N most frequent word pairs; by default 20,000 where the vocabulary grows with
            ``distil_epochs``, else none.
        prune_vocabulary: Remove tokens that never occur in the training texts, except those needed to spell
            other texts.
        freeze: Tokens whose embeddings stay fixed, relative to a start with entries of root mean square 1 (to
            which any is scaled).
        loss: ``contrastive``, ``triplet``, ``margin-mse`` or ``kl`` (the last two with a teacher's scores)
            for pairs, ``cosent`` or ``cosine`` for scored pairs, ``classes`` for labelled texts,
            ``distillation`` for plain texts. By default the first for the data's kind; see
            statim.training.losses.objectives.
        dim: Embedding dimensions; by default those of the start.
        batch: Pairs (or labelled texts) per step.
        epochs: Passes over the data. By default 3; more for few pairs, up to 18, for about 300 steps; 1 from
            a million pairs on.
        learning_rate: Adam's peak learning rate, for embeddings whose entries are about 1. For documents, a
            third of that for pairs by default.
        matryoshka: Matryoshka dimensions, at which prefixes are trained to be good by themselves; by default
            halves of ``dim``.
        weights: Loss weight of each Matryoshka dimension; by default equal.
        scale: Multiply cosines by this in the loss (1 / temperature).
        both_directions: Also train from positives to anchors.
        triplet_margin: Margin of the triplet loss, in cosines; 0.2 by default.
        false_negative_margin: Treat candidates whose cosine exceeds the positive's by more than this as
            unknown positives, and leave them out of that anchor's negatives (``contrastive`` and
            ``classes``). By default all other candidates are negatives.
        precision: What is rounded: ``int8``, ``bf16`` or ``fp32``, see Recipe. By default ``auto``: ``int8``
            for contrastive losses where the processor multiplies bytes quickly, else ``bf16``.
        schedule: The learning rate after warm-up: ``linear`` (default) or ``cosine``, both to 0, or
            ``constant``.
        warmup: Share of the steps in which the learning rate rises; 0.1 by default.
        weight_decay: Decoupled weight decay (AdamW): each step shrinks all embeddings by this times the
            learning rate; 0 by default.
        decay_to: What weights decay towards: ``zero`` (default), or ``start``, the embeddings of before
            training, so that what an earlier model knows is kept. Newly added tokens then do not decay, a
            vocabulary that cannot grow stays as it is, and the model keeps the start's settings and the size
            of its embeddings.
        rare_rows: Multiply each embedding's learning rate by n / (n + rare_rows), for n training texts that
            have the token; 0 by default. Newly added tokens aside.
        token_dropout: Probability with which each distinct token of a text is left out of its mean for a
            step; 0 by default.
        clip: Clip the gradient of the whole table to this norm; 1 by default.
        row_wise: Keep one second moment per embedding, which saves a third of the memory; by default one per
            entry.
        new_rows_rate: Learning-rate multiplier for newly added tokens; 1 by default.
        hard_negatives: Mine N negatives per pair among the positives, with the current table: before the
            first epoch (after it, for a random start) and between epochs. None by default.
        mine_every: Epochs from one mining to the next; 1 by default.
        distil_weight: Weight of the distillation loss beside the pairs' loss; 20 by default.
        distil_epochs: Epochs over the distillation texts alone before the first pair; the vocabulary then
            grows by their words, not the pairs'. 0 by default. A resumed run repeats them.
        length_power: Raise the norms of the trained embeddings to this power; 1 by default. With 0.7 rare
            words, whose embeddings are the longest, count less. Evaluations during training are without it.
        mix: How to mix several sets of pairs: ``together`` (all pairs shuffled, the default),
            ``proportional`` (each batch from one set, in proportion to its pairs) or ``turn`` (each batch
            from one set, in turn).
        seed: Seed of splits, order and random numbers; 0 by default.
        distil: Plain texts whose embeddings are trained to match a teacher's (files, or a table with a column
            of texts; see ``statim.data.documents.plain.read_plain``); or ``"pairs"``: the pairs' own texts;
            or ``"sentences"``: 350,000 of their sentences and passages. Each step takes a batch of them
            beside the pairs; without pairs, training is on them alone. Ridge regression maps the start to the
            teacher's embeddings.
        teacher: Teacher for ``distil`` and the losses ``margin-mse`` and ``kl``, by path or hub name; by
            default the start's teacher, else all-MiniLM-L6-v2. With several, for ``distil`` only, the target
            cosines are the mean of theirs; a mapping from names to weights makes it a weighted one.
        documents_by: Train a model for queries only, against this teacher's document embeddings, which stay
            fixed. It has the teacher's dimensions and is searched with ``Index.build(...,
            documents_by=teacher)``. It is also distilled (``distil``), by default on the pairs' own texts.
        recipe: Preset for options that are not given: ``"general"``, for many sets of pairs into one model.
        heldout: Number of examples to hold out for the final table (0 for none), or a file of them.
        development: Number of examples to hold out for evaluation during training (0 for none), or a file. By
            default half as many as ``heldout``; none where that is a file. Only pairs are evaluated during
            training.
        evaluate_every: Steps between evaluations. By default a few per epoch, within 5 % of the time. The
            start and the last step are always evaluated.
        keep: ``last`` keeps the table of the last step; ``best`` that of the best evaluation (NDCG@10, the
            earliest of equals). By default ``last``, since a falling learning rate makes the end the best and
            choosing is optimistic; with ``patience`` ``best``.
        patience: Stop after N evaluations without improvement.
        baselines: What the table compares the model with, once it is saved: ``bm25`` (with hybrid search),
            ``teacher``, both (``"bm25,teacher"``, True, the default) or ``"none"`` (False). With baselines
            the table is of a sample of at most 2,000 of the held-out queries.
        checkpoint_every: Steps between checkpoints (needs ``out``). By default at least 10 s apart, within
            about 2 % of the time.
        keep_checkpoints: Keep the N newest checkpoints, 2 by default; 0 writes none.
        tensorboard: Write loss, learning rate and evaluations into this folder for TensorBoard.
        resume: Resume an interrupted training into ``out``, to the same bits. It knows its options and files;
            if given again they must be the same, except the learning rate (from there on), threads,
            baselines, checkpoints and TensorBoard.
        overwrite: Replace an existing ``out``.
        threads: Threads; see statim.threads.
        device: ``cpu``, ``cuda`` or ``auto`` (the default: a GPU if torch sees one). Processes started by
            torchrun share each batch; only the first evaluates, logs and writes.
        progress: Show progress bars on a terminal.

    Returns:
        The model, the held-out table, the recipe and the seconds each part took.

    Raises:
        DataError: The pairs cannot be read, or there are too few.
        ModelError: The start is not a model.
        InputError: An argument is out of range, a resumed run's files or options changed, or training
            diverged.
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
        result, measure_baselines = run_pipeline(this.resumed(given) if given.resume else given, this)
        measure_baselines()
        return result
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
            result, measure_baselines = run_pipeline(given, this)
        except BaseException as error:
            _leave(out, given.resume, error)
            raise
        checkpoint.finish(out)
    try:
        measure_baselines()
    except BaseException:
        log.info("the model is saved in %s; its table is without baselines", out)
        raise
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
