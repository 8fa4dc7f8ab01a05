"""statim encode: texts in, vectors out."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from statim.cli import options


def encode(
    model: Annotated[str, typer.Argument(help="A model: folder, word vectors, or hub name.")],
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXTS...]",
            help="Files (.txt with a text a line, .jsonl, .csv, .tsv, .parquet, .arrow); by default the standard input.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="A .npy, .parquet or .jsonl file; by default JSON lines on the standard output.",
        ),
    ] = None,
    column: Annotated[str | None, typer.Option(help="The column of texts; guessed by default.")] = None,
    dim: Annotated[int | None, typer.Option(help="Keep only the first dimensions.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float16.")] = "float32",
    normalize: Annotated[
        bool | None,
        typer.Option(
            "--normalize/--no-normalize", help="Scale vectors to length 1; by default as the model does."
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Turn texts into vectors."""
    progress = options.begin(quiet or json)
    from statim.data.texts import read_texts
    from statim.data.vectors import VectorWriter
    from statim.model import StaticModel
    from statim.progress import Progress

    loaded = StaticModel.load(model)
    started, count = time.perf_counter(), 0
    writer = VectorWriter(out, dim or loaded.dim, dtype, overwrite=overwrite)
    with Progress("encode", total=None, unit="texts", show=progress) as bar, writer:
        for texts in read_texts(sources or ["-"], column):
            writer.write(
                texts, loaded.encode(texts, dim=dim, dtype=dtype, normalize=normalize, threads=threads)
            )
            count += len(texts)
            bar.advance(len(texts))
    seconds = time.perf_counter() - started
    if out is not None:
        figures = {
            "out": str(out),
            "texts": count,
            "dimensions": dim or loaded.dim,
            "seconds": round(seconds, 3),
        }
        options.result(figures, f"{count:,} texts in {seconds:.1f} s, written to {out}", json)
    sys.stdout.flush()
