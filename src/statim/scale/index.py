"""An index in shards from the vectors that ``encode_shards`` wrote, each shard built by itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from statim.data.files import unify
from statim.errors import InputError
from statim.files import atomic_directory, check_output
from statim.model import StaticModel, as_model
from statim.progress import Progress
from statim.scale.jobs import Lost
from statim.scale.output import read_manifest
from statim.scale.runners import runner
from statim.scale.storage import Place, place
from statim.search.index import Index
from statim.search.lexical.analyzer import AUTO, SAMPLE, check_language, detect
from statim.search.stores.protocol import read_manifest as index_manifest
from statim.search.stores.shards import finish

TEXTS = 1_000_000  # of a shard, by default at most


def index_shards(
    model: StaticModel | str | Path | None,
    vectors: str | Path,
    out: str | Path,
    *,
    shards: int | None = None,
    ray: str | None = None,
    store: str | None = None,
    engine: str | None = None,
    language: str = AUTO,
    weight: float | None = None,
    threads: int | None = None,
    progress: bool = False,
    overwrite: bool = False,
) -> Index:
    """Build an index in shards from vectors of many files; nothing is encoded again.

    Args:
        model: The model that made the vectors.
        vectors: The folder that ``encode_shards`` wrote, or its address.
        out: The folder of the index; on a cluster, all nodes must see it.
        shards: How many; each holds whole files. By default one for each million texts.
        ray: Where it is done; see ``encode_shards``. Each shard is a task.
        store: As for ``Index.build``.
        engine: As for ``Index.build``.
        language: As for ``Index.build``; detected from the first texts by default.
        weight: As for ``Index.build``.
        threads: Threads for a shard; by default all in this process, and one on Ray.
        progress: Show a progress bar on a terminal.
        overwrite: Replace a folder that has something in it.

    Raises:
        InputError: The vectors are of another model, shortened or rounded; there are fewer files than shards;
            or as for ``Index.build``.
        DataError: There is no finished output of ``encode_shards``.
        StorageError: The disk is full, read-only, or not permitted.

    Examples:
        >>> from statim.scale import encode_shards, index_shards
        >>> encode_shards(model, "docs.jsonl", "vectors").shards
        1
        >>> len(index_shards(model, "vectors", "docs.index"))
        182
    """
    loaded, folder = as_model(model), place(vectors)
    check_output(out, overwrite=overwrite)
    check_language(language)
    manifest = read_manifest(folder)
    _check_run(loaded, manifest["run"], folder)
    groups = _groups(manifest["shards"], shards)
    first = chain.from_iterable(_texts(folder / name) for name in groups[0])
    language = detect(islice(first, SAMPLE)) if language == AUTO else language
    ways = {"store": store, "engine": engine, "language": language, "weight": weight}
    with (
        atomic_directory(out, overwrite=overwrite) as made,
        runner(ray, loaded, threads) as run,
        Progress("index", total=len(groups), unit="shards", show=progress) as bar,
    ):
        job = Indexing(
            folder.address, str(made), _schema([folder / name for group in groups for name in group]), ways
        )
        for (number, _), found in run(job, list(enumerate(groups))):
            if isinstance(found, Lost):
                raise InputError(f"the shard {number} of {out} cannot be built: {found.reason}")
            bar.advance(1)
        about = {**index_manifest(made / "0"), "vectors": "model"}
        finish(made, {number: str(number) for number in range(len(groups))}, about)
    return Index.load(out, verify="never")


def _check_run(model: StaticModel, run: dict[str, Any], folder: Place) -> None:
    """Refuse vectors that are not the model's own.

    Raises:
        InputError: They are not.
    """
    if run.get("the model") != model.hash:
        raise InputError(f"{folder.address} holds vectors of another model; give the one that encoded them")
    if (run.get("--dim") or model.dim) != model.dim or run.get("--dtype") != "float32":
        raise InputError(
            f"{folder.address} holds vectors that are shortened or rounded; an index needs whole ones, so "
            "encode without --dim and --dtype (the index itself can be small: --engine int8)"
        )


def _groups(files: list[dict[str, Any]], shards: int | None) -> list[list[str]]:
    """The names of files for each shard, one after the other, in nearly equal numbers of texts."""
    files = [file for file in files if file["texts"]]
    ends = np.cumsum([file["texts"] for file in files])
    many = min(len(files), -(-int(ends[-1]) // TEXTS)) if shards is None and files else shards
    if many is None or not 1 <= many <= len(files):
        raise InputError(f"there are {len(files):,} files for {many or 0:,} shards; give from 1 to that many")
    groups: list[list[str]] = [[]]
    for number, (file, end) in enumerate(zip(files, ends.tolist(), strict=True)):
        needed = len(files) - number <= many - len(groups)  # a shard for each file that is left
        if groups[-1] and (needed or (end - file["texts"] / 2) * many >= ends[-1] * len(groups)):
            groups.append([])
        groups[-1].append(file["name"])
    return groups


@dataclass(frozen=True)
class Indexing:
    """A job: build a shard of an index (see jobs.Job).

    Attributes:
        vectors: The address of the folder of vectors.
        out: The folder of the index.
        schema: The columns of the documents in all shards.
        ways: Options of ``Index.build``.
    """

    vectors: str
    out: str
    schema: pa.Schema
    ways: dict[str, Any]

    def __call__(self, group: tuple[int, list[str]], model: StaticModel, threads: int | None) -> int:
        """The number of documents."""
        number, names = group
        parts = [_read(place(self.vectors) / name) for name in names]
        documents = pa.concat_tables([unify.fitted(table, self.schema) for table, _ in parts])
        vectors, out = np.concatenate([some for _, some in parts]), Path(self.out) / str(number)
        return len(
            Index.build(model, documents, out, vectors=vectors, threads=threads, overwrite=True, **self.ways)
        )


def _schema(files: list[Place]) -> pa.Schema:
    """The columns that the documents of all files fit, as far as their types tell."""
    found = []
    for file in files:
        with file.files.open_input_file(file.path) as opened:
            schema = pq.read_schema(opened)
        found.append(schema.remove(schema.get_field_index("vector")).remove_metadata().empty_table())
    return unify.settled(lambda: found)


def _read(shard: Place) -> tuple[pa.Table, npt.NDArray[np.float32]]:
    """The documents of a file, and their vectors."""
    with shard.files.open_input_file(shard.path) as file:
        table = pq.ParquetFile(file).read()
    column = table.column("vector").combine_chunks()
    width = column.type.list_size
    return table.drop_columns(["vector"]), column.flatten().to_numpy().reshape(len(table), width)


def _texts(shard: Place) -> Iterator[str]:
    with shard.files.open_input_file(shard.path) as file:
        for batch in pq.ParquetFile(file).iter_batches(SAMPLE, columns=["text"]):
            yield from batch.column(0).to_pylist()
