"""statim mine: pairs in, pairs with hard negatives out."""

from typing import Annotated, Any

import typer

from statim.cli import options
from statim.errors import InputError


def mine(
    sources: options.Pairs,
    out: options.Rows,
    model: Annotated[
        str | None,
        typer.Option(help="The model that finds negatives: folder, word vectors, or hub name."),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Instead of a model: a sentence transformer (path or hub name).")
    ] = None,
    cross_encoder: Annotated[
        str | None, typer.Option(help="A CrossEncoder of sentence-transformers that scores candidates again.")
    ] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(help="A file of further texts that negatives may come from (repeatable)."),
    ] = None,
    corpus_column: Annotated[
        str | None, typer.Option(help="The column of texts in the corpus; guessed by default.")
    ] = None,
    anchor: options.Anchor = None,
    positive: options.Positive = None,
    negatives: Annotated[int, typer.Option("--negatives", "-n", help="Negatives of each anchor.")] = 3,
    range_min: Annotated[int, typer.Option(help="Skip the N nearest candidates.")] = 0,
    range_max: Annotated[
        int | None, typer.Option(help="Look at candidates up to this rank; by default enough.")
    ] = None,
    relative_margin: Annotated[
        str,
        typer.Option(
            help="A negative scores lower than the worst positive by this share of its score; none for "
            "no such margin."
        ),
    ] = "0.05",
    absolute_margin: Annotated[
        float | None, typer.Option(help="A negative scores lower than the worst positive by this.")
    ] = None,
    max_score: Annotated[float | None, typer.Option(help="A negative scores no more.")] = None,
    min_score: Annotated[float | None, typer.Option(help="A negative scores no less.")] = None,
    sampling: Annotated[str, typer.Option(help="top takes the closest, random any in the range.")] = "top",
    seed: Annotated[int, typer.Option(min=0, help="Of the random ones.")] = 0,
    query_prompt: Annotated[
        str | None, typer.Option(help="Text to put before each anchor, instead of the model's own prompt.")
    ] = None,
    corpus_prompt: Annotated[
        str | None, typer.Option(help="Text to put before each document, likewise.")
    ] = None,
    include_positives: Annotated[
        bool, typer.Option("--include-positives", help="Leave positives among the candidates (n-tuples).")
    ] = False,
    output_format: Annotated[
        str, typer.Option("--format", help="triplet, n-tuple, labelled-pair or labelled-list.")
    ] = "triplet",
    scores: Annotated[bool, typer.Option("--scores", help="Write the scores too.")] = False,
    search: Annotated[
        str | None, typer.Option(help="exact, or index (approximate); by default what suits the size.")
    ] = None,
    overwrite: options.Overwrite = False,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find hard negatives: texts that are close to anchors and do not belong to them."""
    progress = options.begin(quiet or json)
    if (model is None) == (teacher is None):
        raise InputError("name the model that finds negatives, either --model or --teacher")
    from statim.data.files.writing import check_table_output, write_table
    from statim.mining.mine import mine_hard_negatives
    from statim.teacher import Teacher

    check_table_output(out, overwrite=overwrite)
    texts: Any = None
    if corpus:
        import pyarrow as pa

        from statim.data.documents.texts import read_texts

        texts = pa.concat_arrays(list(read_texts(corpus, corpus_column)))
    mined = mine_hard_negatives(
        sources[0] if len(sources) == 1 else sources,
        model if teacher is None else Teacher.load(teacher),
        anchor=anchor, positive=positive, corpus=texts, cross_encoder=cross_encoder, range_min=range_min,
        range_max=range_max, max_score=max_score, min_score=min_score, absolute_margin=absolute_margin,
        relative_margin=_number(relative_margin), num_negatives=negatives, sampling=sampling, seed=seed,
        query_prompt=query_prompt, corpus_prompt=corpus_prompt, include_positives=include_positives,
        output_format=output_format, output_scores=scores, search=search, threads=threads, progress=progress,
    )  # fmt: skip
    write_table(out, mined.table)
    options.result(
        mined.to_dict() | {"out": str(out)}, f"{mined.report}\n\n{len(mined):,} rows, written to {out}", json
    )


def _number(given: str) -> float | None:
    """``0.05`` or ``none``."""
    if given.lower() == "none":
        return None
    try:
        return float(given)
    except ValueError:
        raise typer.BadParameter(
            f"--relative-margin is {given!r}; give a number like 0.05, or none"
        ) from None
