"""statim cluster: texts in, clusters with their words out."""

from pathlib import Path
from typing import Annotated

import typer

from statim.cli import options
from statim.counted import counted


def cluster(
    sources: options.Texts = None,
    model: options.VectorsBy = None,
    vectors: options.Vectors = None,
    method: Annotated[str, typer.Option(help="kmeans, density, or communities.")] = "kmeans",
    clusters: Annotated[
        int | None,
        typer.Option(
            "--clusters",
            "-n",
            help="How many (kmeans), or about how many (density); by default the root of half the "
            "texts, 100 at most.",
        ),
    ] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", "-t", help="The least cosine with a community's centre.")
    ] = 0.75,
    min_size: Annotated[
        int,
        typer.Option(
            help="The least size of a community, in texts; of a dense region, in different texts or "
            "copies of one."
        ),
    ] = 10,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The .jsonl, .csv or .parquet file for every text's cluster."),
    ] = None,
    column: options.Column = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all random choices.")] = 0,
    overwrite: options.Overwrite = False,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Put texts into clusters, and say what each is about."""
    progress = options.begin(quiet or json)
    from statim.data.files.writing import check_table_output, write_table
    from statim.tasks.clusters import clusters as library

    if out is not None:
        check_table_output(out, overwrite=overwrite)
    found = library.cluster(
        options.sources(sources, delimiter, encoding), model, vectors=vectors, method=method,
        clusters=clusters,
        threshold=threshold,
        min_size=min_size, column=column, seed=seed, threads=threads, progress=progress,
    )  # fmt: skip
    figures, text = found.to_dict(), str(found)
    if out is not None:
        write_table(out, found.table())
        figures |= {"out": str(out)}
        text += f"\n\n{counted(found.items.rows, 'rows')}, written to {out}"
    options.result(figures, text, json)
