"""statim duplicates: texts in; groups, pairs, or what stays out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from statim.cli import options
from statim.counted import counted
from statim.errors import InputError

WRITTEN = ("groups", "pairs", "kept")


def duplicates(
    sources: options.Texts = None,
    model: options.VectorsBy = None,
    vectors: options.Vectors = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="A file of another set, whose duplicates are looked for (repeatable): train for test, say."
        ),
    ] = None,
    against_vectors: Annotated[Path | None, typer.Option(help="The vectors of the other set.")] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", "-t", help="The least cosine of duplicates.")
    ] = 0.9,
    top: Annotated[
        int | None, typer.Option("--top", "-k", help="Keep each text's N closest duplicates.")
    ] = None,
    linked: Annotated[
        bool,
        typer.Option(
            "--linked",
            help="Groups of all that pairs connect, in which members can be far below the threshold from one "
            "another; by default all are close to the one that stays.",
        ),
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare everything; by default large sets cell by cell.")
    ] = False,
    report: Annotated[
        bool,
        typer.Option("--report", help="Only show, with examples, how many there are at several thresholds."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The .jsonl, .csv or .parquet file to write.")
    ] = None,
    write: Annotated[
        str | None,
        typer.Option(
            help="What to write: groups, pairs, or kept (what stays); by default groups, of two sets pairs."
        ),
    ] = None,
    column: options.Column = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    skip_bad: options.SkipBad = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample and the cells.")] = 0,
    overwrite: options.Overwrite = False,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find exact and near duplicates, inside one set or between two."""
    progress = options.begin(quiet or json)
    from statim.data.files.writing import check_table_output, write_table
    from statim.tasks.duplicates.duplicates import compare_thresholds, find_duplicates

    two = bool(against) or against_vectors is not None
    write = write or ("pairs" if two else "groups")
    if write not in WRITTEN or (two and write == "groups"):
        raise InputError(
            f"--write is {write!r}; it must be one of {', '.join(WRITTEN[two:])}{' of two sets' * two}"
        )
    if out is not None:
        check_table_output(out, overwrite=overwrite)
    if report and out is not None:
        raise InputError("--report writes nothing; leave --out away")
    given: dict[str, Any] = {
        "texts": options.sources(sources, delimiter, encoding), "model": model,
        "against": options.sources(against, delimiter, encoding),
        "vectors": vectors,
        "against_vectors": against_vectors, "column": column, "seed": seed, "threads": threads,
        "progress": progress,
    }  # fmt: skip
    with options.skipping(skip_bad, overwrite=overwrite) as bad:
        if report:
            found = compare_thresholds(**given, skip_bad=bad)
            skipped, words = options.skipped(bad, skip_bad)
            options.result(found.to_dict() | skipped, f"{found}{words}", json)
            return
        result = find_duplicates(
            **given, threshold=threshold, top=top, linked=linked, exact=exact, every_pair=write == "pairs",
            skip_bad=bad,
        )  # fmt: skip
    skipped, words = options.skipped(bad, skip_bad)
    figures, text = result.to_dict() | skipped, f"{result}{words}"
    if out is not None:
        table = {"groups": result.groups, "pairs": result.pair_table, "kept": result.kept}[write]()
        write_table(out, table)
        figures |= {"out": str(out), "written": len(table)}
        text += f"\n\n{counted(len(table), 'rows')} ({write}), written to {out}"
    options.result(figures, text, json)
