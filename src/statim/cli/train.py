"""statim train: from pairs of text, texts with labels, or documents to a trained, evaluated, saved model."""

import os
from pathlib import Path
from typing import Annotated

import typer

from statim.cli import options
from statim.errors import InputError


def train(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PAIRS...",
            help="Files of pairs, of pairs with scores, or of texts with labels (.jsonl, .csv, .tsv, .parquet, .arrow; text ones "
            "also .gz or .zst), a datasets folder, or the word python-docs: the documentation inside this Python installation. Or "
            "documents without pairs: a folder of text files, a .txt file, or a file with one column of text.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder to save the model into.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="random, an earlier static model, or a sentence transformer to distil (path or hub name). By default "
            "all-MiniLM-L6-v2 if it can be had, else random."
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="For a random start: a tokenizer.json, or a model that has one; by default learned from the pairs."
        ),
    ] = None,
    grow_words: Annotated[
        int | None,
        typer.Option(
            help="Give so many of the training texts' most frequent words, of those that are cut into pieces, rows of their own; by "
            "default 10000 where a teacher is distilled, 0 for none."
        ),
    ] = None,
    grow_pairs: Annotated[
        int | None,
        typer.Option(
            help="Give so many of their most frequent pairs of words rows of their own; by default none, with --distil-epochs 20000."
        ),
    ] = None,
    prune_vocabulary: Annotated[
        bool,
        typer.Option(
            "--prune-vocabulary",
            help="Leave out the rows that never occur in the training texts, but for those that spell other texts.",
        ),
    ] = False,
    packages: Annotated[
        str | None,
        typer.Option(
            help="For python-docs: only these packages, like stdlib,numpy; by default all that are there."
        ),
    ] = None,
    make_pairs: Annotated[
        str | None,
        typer.Option(
            help="Take the files for documents, and make pairs of their own parts: titles, sentences, neighbours, crops, several with "
            "commas between; by default titles,sentences,crops where there are only documents."
        ),
    ] = None,
    anchor: Annotated[
        str | None,
        typer.Option(
            help="The column of anchors, of first texts, of texts with labels, or of documents' titles; guessed by default."
        ),
    ] = None,
    positive: Annotated[
        str | None,
        typer.Option(help="The column of positives, of second texts, or of documents; guessed by default."),
    ] = None,
    negative: options.Negative = None,
    score: Annotated[str | None, typer.Option(help="The column of scores; guessed by default.")] = None,
    label: Annotated[str | None, typer.Option(help="The column of labels; guessed by default.")] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="For pairs: contrastive (default), or triplet (pairs with negatives), margin-mse, kl (with a teacher's scores). For pairs "
            "with scores: cosent (default) or cosine. For texts with labels: classes. For texts: distillation."
        ),
    ] = None,
    dim: Annotated[int | None, typer.Option(help="Dimensions; by default those of the start.")] = None,
    matryoshka: Annotated[
        str | None,
        typer.Option(help="Dimensions at which prefixes shall be good, like 32,64,128; by default halves."),
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Pairs (or texts) per step.")] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Passes over the data; by default 3, of few pairs up to 18, of millions 1."),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Adam's peak rate (table entries are about 1).")
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="What the rate does after warm-up: linear (default) or cosine, both to 0, or constant."
        ),
    ] = None,
    warmup: Annotated[
        float | None, typer.Option(help="Share of the steps in which the rate rises (default 0.1).")
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(help="Cosines are multiplied by it in the loss (default 20, for cosent 4)."),
    ] = None,
    both_directions: Annotated[
        bool | None, typer.Option("--both-directions", help="Train from positives to anchors too.")
    ] = None,
    triplet_margin: Annotated[
        float | None, typer.Option(help="Of the triplet loss, in cosines (default 0.2).")
    ] = None,
    false_negative_margin: Annotated[
        float | None,
        typer.Option(
            help="Candidates whose cosine exceeds the positive's by more than this are no negatives, like 0.1; by default all others are."
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(help="A step shrinks all rows by this times the rate (AdamW; default 0)."),
    ] = None,
    token_dropout: Annotated[
        float | None,
        typer.Option(help="Leave each token of a text out of a step with this probability (default 0)."),
    ] = None,
    freeze: Annotated[
        Path | None, typer.Option(help="A file of tokens whose rows must not move, one a line.")
    ] = None,
    new_rows_rate: Annotated[
        float | None,
        typer.Option(help="Multiply the rate by this for tokens that the start has no row for (default 1)."),
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(help="Scale the table's gradient down to this norm where it is larger (default 1)."),
    ] = None,
    row_wise: Annotated[
        bool | None,
        typer.Option(
            "--row-wise",
            help="One second moment for each row, not for each entry: less memory. Not on a GPU.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Options that belong together, as far as they are not given: general (many sets of pairs into one model)."
        ),
    ] = None,
    distil: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXTS",
            help="A file of plain texts (see statim encode) whose vectors shall come close to a teacher's, beside the pairs, or without "
            "any (repeatable); or the word pairs: the pairs' own texts; or sentences: 350,000 of their sentences and passages.",
        ),
    ] = None,
    distil_weight: Annotated[
        float | None, typer.Option(help="How many times that counts beside the pairs' loss (default 20).")
    ] = None,
    distil_epochs: Annotated[
        int | None, typer.Option(help="Epochs over these texts alone before the first pair (default 0).")
    ] = None,
    length_power: Annotated[
        float | None,
        typer.Option(
            help="Give the trained table's rows their lengths to this power, like 0.7: rare words count less (default 1)."
        ),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            help="Who teaches, for --distil and the losses margin-mse and kl; by default the start's teacher, else all-MiniLM-L6-v2. "
            "For --distil repeatable: cosines shall be the mean of theirs."
        ),
    ] = None,
    documents_by: Annotated[
        str | None,
        typer.Option(
            metavar="TEACHER",
            help="Train a model for queries alone, against this teacher's vectors of documents (see statim index build "
            "--documents-by).",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="What is rounded where the processor can: int8 (most, fastest), bf16 (default), or fp32 (nothing)."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Decides splits, order and random numbers (default 0).")
    ] = None,
    hard_negatives: Annotated[
        int | None,
        typer.Option(
            help="Mine so many hard negatives of each pair, with the model in training (default 0)."
        ),
    ] = None,
    mine_every: Annotated[
        int | None, typer.Option(help="Epochs from one mining to the next (default 1).")
    ] = None,
    mix: Annotated[
        str | None,
        typer.Option(
            help="How several files are mixed: together (default; all pairs shuffled), proportional (each batch of one file, as "
            "many as it has pairs) or turn (each batch of one file, by turns)."
        ),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER",
            help="How many times the pairs of a file are taken per epoch, like faq=2 or forum=0.5 (repeatable; default 1). NAME is "
            "the file's name without suffixes, or as much of its path as tells it from the others.",
        ),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=COUNT",
            help="Use at most so many pairs of a file, drawn by the seed, like forum=10000 (repeatable).",
        ),
    ] = None,
    heldout: Annotated[
        str | None,
        typer.Option(help="How many are held out for the table, 0 for none; or a file of such data."),
    ] = None,
    development: Annotated[
        str | None,
        typer.Option(
            help="Pairs held out for evaluations during training: a count, 0 for none, or a file of pairs; by default half as "
            "many as --heldout."
        ),
    ] = None,
    evaluate_every: Annotated[
        int | None,
        typer.Option(help="Steps between evaluations; by default a few an epoch, within 5 % of the time."),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            help="The table to keep: that of the last step, or of the best evaluation (default with --patience)."
        ),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many evaluations without a gain; by default never.")
    ] = None,
    no_baselines: Annotated[
        bool, typer.Option("--no-baselines", help="Leave BM25 and the teacher out.")
    ] = False,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(
            help="Steps between checkpoints; by default by the clock, 10 s apart or further, within 2 % of the time."
        ),
    ] = None,
    keep_checkpoints: Annotated[
        int | None, typer.Option(help="Keep the newest so many (default 2); 0 writes none.")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Write the curves into this folder, for TensorBoard.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Go on with an interrupted training into this folder. It knows its pairs and options; --learning-rate, "
            "--threads and those of checkpoints may be given anew."
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    threads: options.Threads = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="cpu, cuda, or auto (default): a GPU if torch sees one. Several processes: torchrun -m statim train."
        ),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a static model on pairs of text, texts with labels or documents; compare it with BM25 and its teacher on held-out ones."""
    first = os.environ.get("RANK", "0") == "0"  # of several processes, one speaks
    progress = options.begin(quiet or json or not first)
    if not sources and not distil and resume is None:
        raise InputError(
            "no pairs were given; name a file of pairs, or python-docs (statim train PAIRS --out DIR)"
        )
    if resume is not None and out is not None and out != resume:
        raise InputError(
            f"--out is {out} and --resume is {resume}; a resumed training goes on into the folder it began with"
        )
    if out is None and resume is None:
        raise InputError("no output was given; name a folder for the model (--out DIR)")
    from statim.training.train import train as run

    data = options.one_or_several(sources)
    result = run(
        data,
        out=resume or out,
        start=start,
        tokenizer=tokenizer,
        grow_words=grow_words,
        grow_pairs=grow_pairs,
        prune_vocabulary=prune_vocabulary or None,
        anchor=anchor,
        positive=positive,
        negative=negative,
        packages=None
        if packages is None
        else [name for part in packages.split(",") if (name := part.strip())],
        make_pairs=make_pairs,
        score=score,
        label=label,
        loss=loss,
        dim=dim,
        matryoshka=options.numbers(matryoshka, "--matryoshka"),
        batch=batch,
        epochs=epochs,
        learning_rate=learning_rate,
        schedule=schedule,
        warmup=warmup,
        scale=scale,
        both_directions=both_directions,
        triplet_margin=triplet_margin,
        false_negative_margin=false_negative_margin,
        weight_decay=weight_decay,
        token_dropout=token_dropout,
        freeze=options.lines(freeze, "--freeze"),
        new_rows_rate=new_rows_rate,
        clip=clip,
        row_wise=row_wise,
        recipe=recipe,
        distil=options.one_or_several(distil),
        distil_weight=distil_weight,
        distil_epochs=distil_epochs,
        length_power=length_power,
        teacher=options.one_or_several(teacher),
        documents_by=documents_by,
        precision=precision,
        seed=seed,
        hard_negatives=hard_negatives,
        mine_every=mine_every,
        mix=mix,
        set_weights=options.weights(weight or [], "--weight") or None,
        set_limits=options.limits(limit or [], "--limit") or None,
        heldout=options.count_or_file(heldout),
        development=options.count_or_file(development),
        evaluate_every=evaluate_every,
        keep=keep,
        patience=patience,
        baselines=False if no_baselines else None,
        checkpoint_every=checkpoint_every,
        keep_checkpoints=keep_checkpoints,
        tensorboard=tensorboard,
        resume=resume is not None,
        overwrite=overwrite,
        threads=threads,
        device=device,
        progress=progress,
    )
    if first:
        options.result(
            result.to_dict() | {"out": str(resume or out)}, f"{result}\nsaved to {resume or out}", json
        )
