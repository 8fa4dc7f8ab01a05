"""statim encode: texts in, vectors out."""

import contextlib
import sys
import time
from collections.abc import Generator, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from statim import __version__
from statim.cli import model_first, options, terminal
from statim.counted import counted
from statim.errors import DataError, InputError
from statim.threads import ahead

if TYPE_CHECKING:
    from statim.data.documents.texts import TextHash
    from statim.data.files.bad_rows import BadRows
    from statim.data.files.resumable import Unfinished
    from statim.data.files.vectors import VectorWriter
    from statim.progress import Progress

# A block is what is read, encoded and written at once, and a Parquet row group: large enough that threads
# seldom wait for each other and columns are read in long runs, small enough that the few blocks under way are
# little memory.
VECTOR_BYTES = 4 << 20
# Words that nanotoken remembers on each thread: in this stream as fast as its own million, in far less memory
REMEMBERED = 1 << 17


def encode(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL] [TEXTS...]",
            help="TEXTS are files (.txt with a text a line, .jsonl, .csv, .tsv, .parquet, .arrow); by "
            f"default the standard input. {model_first.GUESSED}",
        ),
    ] = None,
    model: model_first.Option = None,
    given: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="A .npy, .parquet or .jsonl file; or a folder (a name without a suffix) for a .parquet "
            "file of each file of TEXTS; by default JSON lines on the standard output.",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="With a folder: encode on a Ray cluster: local, auto, ray://HOST:PORT or HOST:PORT.",
        ),
    ] = None,
    column: options.Column = None,
    identifier: Annotated[
        str | None,
        typer.Option("--id", help="With a folder: the column of ids; guessed by default, else row numbers."),
    ] = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    dim: options.Dim = None,
    dtype: Annotated[
        str,
        typer.Option(help="float32, float16, int8, or binary (the signs, eight to a byte)."),
    ] = "float32",
    normalize: Annotated[
        bool | None,
        typer.Option(
            "--normalize/--no-normalize", help="Scale vectors to length 1; by default as the model does."
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with an interrupted run into --out; give the same model and options, and "
            "sources with the same texts up to there (of a folder: the same files, and more if you like).",
        ),
    ] = False,
    skip_bad: options.SkipBad = None,
    overwrite: options.Overwrite = False,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Turn texts into vectors."""
    progress = options.begin(quiet or json)
    model, sources = model_first.split_arguments(arguments or [], model, more=True)
    import nanotoken
    import pyarrow as pa

    from statim.data.documents.texts import STDIN, TextHash, in_blocks, read_texts
    from statim.data.files.resumable import unfinished
    from statim.data.files.vectors import VectorWriter, check_suffix, texts_done
    from statim.model import StaticModel
    from statim.progress import Progress

    nanotoken.set_cache_entries(REMEMBERED)
    pa.set_memory_pool(
        pa.system_memory_pool()
    )  # gives back what it frees, where Arrow's own keeps 50 MB or so
    ways: dict[str, Any] = {"dim": dim, "dtype": dtype, "normalize": normalize}
    if given is not None and _is_folder(given):
        _encode_shards(
            model, sources, given, skip_bad, json, ray=ray, text=column, id=identifier, delimiter=delimiter,
            encoding=encoding, resume=resume, overwrite=overwrite, threads=threads, progress=progress, **ways,
        )  # fmt: skip
        return
    if ray is not None or identifier is not None:
        raise InputError(
            f"{'--id' if ray is None else '--ray'} is for many files at once; give --out the name of a "
            "folder, without a suffix"
        )
    out = None if given is None else Path(given)
    sources = options.read_as(sources or [STDIN], delimiter, encoding)
    if resume and (out is None or STDIN in sources):
        raise InputError(
            "--resume needs files to read and an --out; the standard input cannot be read a second "
            "time, so start again"
        )
    if out is not None:
        check_suffix(out)
    loaded = StaticModel.load(model)
    empty = loaded.encode([], **ways)  # (0, w): refuses bad options before anything is written
    rows = max(1, VECTOR_BYTES // (empty.shape[1] * empty.itemsize))

    seen = TextHash()

    def encoded(
        bad: "BadRows", skip: int = 0, known: str | None = None
    ) -> Generator[tuple[Any, Any], None, None]:
        """Blocks of texts and their vectors: one thread reads, others encode, this one writes."""
        blocks = ahead(in_blocks(read_texts(sources, column, bad), rows, skip, seen, known))
        return ahead(with_vectors(blocks, skip))

    def with_vectors(blocks: Iterable[Any], first: int) -> Generator[tuple[Any, Any], None, None]:
        for texts in blocks:
            yield texts, loaded.encode(texts, **ways, threads=threads, first=first)
            first += len(texts)

    started, before, count = time.perf_counter(), 0, 0
    with (
        options.skipping(skip_bad, overwrite=overwrite) as bad,
        Progress("encode", total=None, unit="texts", show=progress) as bar,
    ):
        if out is None:
            writer = VectorWriter(terminal.output(), ".jsonl", empty.shape[1], empty.dtype)
            with contextlib.closing(encoded(bad)) as pairs:
                for texts, vectors in pairs:
                    writer.write(texts, vectors)
                    bar.advance(len(texts))
            sys.stdout.flush()
            options.note(options.skipped(bad, skip_bad)[1].strip(), quiet or skip_bad is None)
            return
        run = {
            "the model": loaded.hash,
            "--column": column,
            **{f"--{name}": value for name, value in ways.items()},
            "the version of statim": __version__,
            "the version of pyarrow": version("pyarrow"),
        }
        with unfinished(out, run, resume=resume, overwrite=overwrite) as output:
            count = before = texts_done(output.progress) if output.progress else 0
            known = output.progress.get("hash") if output.progress else None
            with contextlib.closing(encoded(bad, before, known)) as pairs:
                if output.file is not None:
                    writer = VectorWriter(
                        output.file, out.suffix, empty.shape[1], empty.dtype, output.progress
                    )
                    _write(writer, pairs, output, seen, bar, resumable=STDIN not in sources)
                    count = writer.count
                elif next(pairs, None) is not None:
                    raise InputError(
                        f"{out} is finished, but the sources hold more texts by now; start again "
                        "without --resume"
                    )
    seconds = time.perf_counter() - started
    figures = {
        "out": str(out),
        "texts": count,
        "resumed_at": before,
        "dimensions": dim or loaded.dim,
        "seconds": round(seconds, 3),
        "texts_per_second": round((count - before) / seconds),
    }
    left_out, words = options.skipped(bad, skip_bad)
    options.result(
        figures | left_out, f"{counted(count, 'texts')} in {seconds:.1f} s, written to {out}{words}", json
    )


def _is_folder(out: str) -> bool:
    """Is this output a folder, or an address: a file of vectors for each file of texts?"""
    from statim.addresses import is_elsewhere

    return is_elsewhere(out) or Path(out).is_dir() or not Path(out).suffix


def _encode_shards(
    model: str, sources: list[str], out: str, skip_bad: Path | None, json: bool, **ways: Any
) -> None:
    """Encode many files into a folder."""
    from statim.data.documents.texts import STDIN
    from statim.scale import encode_shards

    if not sources or STDIN in sources:
        raise InputError("a folder of vectors needs files of texts, not the standard input")
    if skip_bad is not None:
        raise InputError(
            "--skip-bad is of one output; with a folder the shards that hold bad rows are named, and the "
            "others are written"
        )
    done = encode_shards(model, sources, out, **ways)
    before = f", {done.resumed:,} of them before" if done.resumed else ""
    told = f"{done.texts:,} texts of {done.shards:,} shards in {done.seconds:.1f} s{before}"
    options.result(done.to_dict(), f"{told}, written to {done.out}", json)


def _write(
    writer: "VectorWriter",
    pairs: Iterable[tuple[Any, Any]],
    output: "Unfinished",
    seen: "TextHash",
    bar: "Progress",
    *,
    resumable: bool,
) -> None:
    """Write blocks of texts and vectors, so that what is written can be gone on with."""

    def save() -> None:
        if resumable:
            output.save({**writer.state(), "hash": seen.hexdigest()})

    before = writer.count
    try:
        for texts, vectors in pairs:
            writer.write(texts, vectors)
            if resumable:
                seen.update(texts)
            bar.advance(len(texts))
            if output.due:
                save()
    except DataError:  # a row that is bad, and can be mended
        if writer.count > before:
            save()
        raise
    output.save({**writer.state(), "hash": seen.hexdigest()})
    writer.finish()
