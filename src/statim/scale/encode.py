"""Vectors of texts in many files: a Parquet file of vectors for each."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from statim import __version__
from statim.data.documents.texts import read_rows, tables_in_blocks
from statim.data.files import columns, unify
from statim.data.files.text_file import TextFile, read_as
from statim.errors import DataError, InputError
from statim.model import StaticModel, as_model
from statim.progress import Progress
from statim.scale import repeated_ids
from statim.scale.jobs import Lost, Run
from statim.scale.output import Output, Written, missing
from statim.scale.runners import runner
from statim.scale.shards import Shard, find
from statim.scale.storage import place
from statim.threads import ahead

VECTOR_BYTES = 4 << 20  # of a row group
NAMED = 5  # shards named in a message


@dataclass(frozen=True)
class EncodedShards:
    """What ``encode_shards`` wrote.

    Attributes:
        out: The folder.
        shards: How many files of vectors are in it.
        texts: Their rows.
        resumed: Shards that an earlier run had written.
        dimensions: Numbers per vector.
        seconds: How long it took.
        texts_per_second: Of those that were encoded now.
    """

    out: str
    shards: int
    texts: int
    resumed: int
    dimensions: int
    seconds: float
    texts_per_second: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Reading:
    """How shards are read: the columns of texts and ids, the delimiter and encoding of text files."""

    text: str | None = None
    id: str | None = None
    delimiter: str | None = None
    encoding: str | None = None


def encode_shards(
    model: StaticModel | str | Path | None,
    sources: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    ray: str | None = None,
    text: str | None = None,
    id: str | None = None,  # noqa: A002
    delimiter: str | None = None,
    encoding: str | None = None,
    dim: int | None = None,
    dtype: str = "float32",
    normalize: bool | None = None,
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    progress: bool = False,
) -> EncodedShards:
    """Encode the texts of many files, each into a Parquet file of its own.

    A file of the output has the columns ``id``, ``text``, ``vector`` (a list of fixed size) and the others of
    its source, rows in order. Files appear whole or not at all, and their bytes do not depend on where and by
    how many processes they are made. A run that was interrupted goes on with ``resume``.

    Args:
        model: A model, or where one is (see ``StaticModel.load``); None takes the bundled ``"english"``.
        sources: Files (.parquet, .jsonl, .csv, .tsv, .txt, .arrow), folders of them at any depth, patterns
            (``data/**/*.jsonl``), or addresses of these that ``pyarrow.fs`` or fsspec read (``s3://…``).
        out: The folder to write, or its address.
        ray: Where it is done: None in this process; ``local`` on a Ray cluster of this machine that ends
            with the call, ``auto`` on the one that runs here, or its address (``ray://host:10001``).
        text: The column of texts, or several; guessed by default.
        id: The column of ids; guessed by default, else ``NAME:ROW``.
        delimiter: Of CSV files; detected by default.
        encoding: Of text files; by default UTF-8.
        dim: Keep only the first dimensions.
        dtype: ``float32``, ``float16``, ``int8`` or ``binary``.
        normalize: Scale vectors to length 1; by default as the model does.
        resume: Go on with an interrupted run, or add shards to a finished one.
        overwrite: Replace shards that an earlier run wrote.
        threads: Threads for a shard; by default all in this process, and one on Ray.
        progress: Show a progress bar on a terminal.

    Raises:
        DataError: Shards could not be encoded, which are named, and all others are; or an id occurs twice.
        InputError: Nothing matches, no cluster is there, or the folder holds something else or shards of
            another run.
        StorageError: The disk is full, read-only, or not permitted.
        DependencyError: Ray, or the package for an address, is not installed.

    Examples:
        >>> from statim.scale import encode_shards
        >>> encode_shards(model, "docs.jsonl", "vectors").shards
        1
    """
    started, loaded = time.perf_counter(), as_model(model)
    ways: dict[str, Any] = {"dim": dim, "dtype": dtype, "normalize": normalize}
    empty = loaded.encode([], **ways)  # (0, w): refuses bad options before anything is written
    shards = find([sources] if isinstance(sources, (str, Path)) else sources)
    reading = Reading(text, id, delimiter, encoding)
    TextFile("", delimiter=delimiter, encoding=encoding)  # refuses what is none
    job = Encoding(place(out).address, reading, ways)
    output = Output(place(out))
    run = _identity(loaded, reading, ways)
    with runner(ray, loaded, threads) as workers, output.alone():
        done = output.begin(run, resume=resume, overwrite=overwrite)
        if gone := missing(done, shards):
            raise InputError(
                f"{output.out.address} holds {_some(gone)} of shards that are not given now; give the same "
                "ones and any others, or start again with --overwrite"
            )
        current = {
            one.name: done[one.name] for one in shards if one.name in done and done[one.name].is_of(one)
        }
        left = [shard for shard in shards if shard.name not in current]
        resumed = len(current)
        written = _encode_all(workers, job, left, progress)
        current.update((one.name, one) for one in written)
        repeated_ids.check(workers, output.out, list(current.values()))
        output.finish(run, current.values(), dimensions=empty.shape[1])
    seconds = time.perf_counter() - started
    texts = sum(one.texts for one in current.values())
    rate = round(sum(one.texts for one in written) / seconds)
    return EncodedShards(
        output.out.address, len(current), texts, resumed, dim or loaded.dim, round(seconds, 3), rate
    )


def _encode_all(workers: Run, job: "Encoding", shards: list[Shard], progress: bool) -> list[Written]:
    """Encode shards.

    Raises:
        DataError: Some cannot be encoded; all others are.
    """
    written: list[Written] = []
    failed: list[str] = []
    total = sum(shard.size for shard in shards) // 1000
    with Progress("encode", total=total, unit="kB", show=progress) as bar:
        for shard, one in workers(job, shards):
            if isinstance(one, Written):
                written.append(one)
            else:
                failed.append(f"{shard.address} ({one.reason})" if isinstance(one, Lost) else str(one))
            texts = sum(one.texts for one in written)
            rate = texts / max(1e-9, time.perf_counter() - bar.started)
            bar.advance(
                shard.size // 1000,
                f"{len(written):,} of {len(shards):,} shards, {texts:,} texts, {rate:,.0f} texts/s",
            )
    if failed:
        raise DataError(
            f"{len(failed):,} of {len(shards):,} shards could not be encoded, all others are in {job.out}: "
            f"{_some(sorted(failed), '; ')}; mend these files or leave them out, and go on with --resume"
        )
    return written


def _identity(model: StaticModel, reading: Reading, ways: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides the bytes of a shard's output but the shard."""
    return {
        "the model": model.hash,
        "--text": reading.text,
        "--id": reading.id,
        "--delimiter": reading.delimiter,
        "--encoding": reading.encoding,
        **{f"--{name}": value for name, value in ways.items()},
        "the version of statim": __version__,
        "the version of pyarrow": version("pyarrow"),
    }


def _some(names: Sequence[str], between: str = ", ") -> str:
    more = f"{between}and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return between.join(names[:NAMED]) + more


@dataclass(frozen=True)
class Encoding:
    """A job: encode a shard (see jobs.Job).

    Attributes:
        out: The address of the output's folder.
        reading: How shards are read.
        ways: Options of ``StaticModel.encode``.
    """

    out: str
    reading: Reading
    ways: Mapping[str, Any]

    def __call__(self, shard: Shard, model: StaticModel, threads: int | None) -> Written | str:
        """What was written, or why the shard cannot be encoded."""
        try:
            one = self._written(shard, model, threads)
            Output(place(self.out)).record(one)
        except InputError as error:
            told = str(error)
            return told if shard.address in told else f"{shard.address}: {told}"
        return one

    def _written(self, shard: Shard, model: StaticModel, threads: int | None) -> Written:
        with place(shard.address).local(shard.suffixes) as path:
            rows = _Rows(path, shard, self.reading)
            try:
                return self._write(shard, rows, model, threads)
            except unify.MisfitError:  # later rows do not fit the first
                rows.settle()
                return self._write(shard, rows, model, threads)

    def _write(self, shard: Shard, rows: "_Rows", model: StaticModel, threads: int | None) -> Written:
        empty = model.encode([], **self.ways)
        most = max(1, VECTOR_BYTES // max(1, empty.shape[1] * empty.itemsize))

        def encoded(blocks: Iterable[pa.Table]) -> Iterator[tuple[pa.Table, npt.NDArray[Any]]]:
            first = 0
            for table in blocks:
                texts = table.column("text").combine_chunks()
                yield table, model.encode(texts, **self.ways, threads=threads, first=first)
                first += len(table)

        blocks = ahead(tables_in_blocks(rows.tables(), most))
        with (
            (place(self.out) / shard.name).writing() as file,
            contextlib.closing(ahead(encoded(blocks))) as pairs,
        ):
            hashed = _Hashed(file)
            texts = _write_parquet(hashed, pairs)
        return Written(
            shard.name, shard.address, shard.size, shard.changed, texts, hashed.size, hashed.hexdigest(),
            rows.own_ids,
        )  # fmt: skip


class _Rows:
    """The rows of a shard: ``id``, ``text`` and its other columns."""

    def __init__(self, path: Path, shard: Shard, reading: Reading) -> None:
        self._path, self._shard, self._reading = path, shard, reading
        self._schema: pa.Schema | None = None
        self.own_ids = False

    def settle(self) -> None:
        """Find the columns that all rows fit."""
        self._schema = unify.storable(unify.settled(self._read))

    def tables(self) -> Iterator[pa.Table]:
        """The rows, in the columns of the first ones unless settled.

        Raises:
            MisfitError: A later row does not fit them.
            DataError: A row cannot be read, or has no id.
        """
        start, schema = 0, self._schema
        for table in self._read():
            schema = schema or unify.storable(table.schema)
            yield unify.fitted(table, schema, start)
            start += len(table)

    def _read(self) -> Iterator[pa.Table]:
        start, reading = 0, self._reading
        source = read_as(self._path, reading.delimiter, reading.encoding)
        for table in read_rows(source, reading.text):
            yield self._named(table, start)
            start += len(table)

    def _named(self, table: pa.Table, start: int) -> pa.Table:
        """The table with its ids first, and no other column of the output's names."""
        where, names = self._shard.address, table.column_names
        name = self._reading.id
        name = columns.usual(names, columns.IDS) if name is None else columns.named(names, name, where)
        self.own_ids = name is not None
        if name is None:
            ids = pa.array(
                (f"{self._shard.name}:{row}" for row in range(start, start + len(table))), pa.large_string()
            )
        else:
            ids = columns.texts(table, name, where, any_type=True)
        if ids.null_count:
            row = start + int(np.flatnonzero(np.asarray(ids.is_null()))[0]) + 1
            raise DataError(f"{where}, row {row:,}: the column {name!r} has no id; give every row one")
        made = {"id": ids, "text": table.column("text")}
        for other in names:
            if other not in (name, "text"):
                made[columns.free(other, {*made, "vector"})] = table.column(other)
        return pa.table(made)


def _write_parquet(file: "_Hashed", pairs: Iterable[tuple[pa.Table, npt.NDArray[Any]]]) -> int:
    """Write rows and vectors, each block a row group; gives the number of rows."""
    count, writer = 0, None
    with contextlib.ExitStack() as stack:
        for table, vectors in pairs:
            made = table.add_column(2, "vector", _column(vectors))
            if writer is None:
                others = {name: "snappy" for name in made.column_names if name != "vector"}
                sink = stack.enter_context(contextlib.closing(pa.PythonFile(file, mode="w")))
                writer = stack.enter_context(
                    pq.ParquetWriter(
                        sink, made.schema, use_dictionary=False, write_statistics=False,
                        compression={**others, "vector": "none", "vector.list.element": "none"},
                    )
                )  # fmt: skip
            writer.write_table(made, row_group_size=max(1, len(made)))
            count += len(made)
    return count


def _column(vectors: npt.NDArray[Any]) -> pa.Array:
    """Vectors (n, w) as a column; packed bits are binary values."""
    if vectors.dtype == np.uint8:
        kind = pa.binary(vectors.shape[1])
        return pa.FixedSizeBinaryArray.from_buffers(kind, len(vectors), [None, pa.py_buffer(vectors)])
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])


class _Hashed:
    """A file to write to that knows its size and digest (see digests.digest)."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        from xxhash import xxh3_128

        self._file, self._hash, self.size = file, xxh3_128(), 0

    def write(self, data: Any) -> int:
        """Append bytes."""
        self._hash.update(data)
        size = memoryview(data).nbytes
        self.size += size
        self._file.write(data)
        return size

    def hexdigest(self) -> str:
        """The digest of what was written."""
        return self._hash.hexdigest()

    def flush(self) -> None:
        """Nothing to do: ``file`` is not ours."""

    def close(self) -> None:
        """Nothing to do: ``file`` is not ours."""
