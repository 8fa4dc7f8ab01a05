"""The approximate index inside a LanceDB table, and what keeps the table tidy.

Vectors lie in cells of k-means (IVF); in the cells that are closest to a query one bit a dimension is compared (RaBitQ: Gao and Long,
2024), and the best are compared again as they are. It is built in seconds, unlike a graph (HNSW). LanceDB makes it of dimensions
that 8 divides; others have a byte each, as have few dimensions, whose bits would say too little. Rows that the index does not hold yet are compared exactly beside it.
"""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from statim.search.engine import Floats
from statim.search.exact import top_k
from statim.search.lance_rows import BLOCK, POSITION, VECTOR
from statim.search.tuning import DEPTH, least_effort

LEAST = 50_000  # rows from which on there is an index
CELL = 4096  # rows in a cell
NARROW = 64  # dimensions below which there are too few bits
OVER = 8  # candidates for each result that are compared as they are
AIM = 0.995  # of what is closest to a sample is found; queries lie further out, and miss more
SAMPLE = 64  # rows that are asked for, to choose how many cells to look into
GROWTH = 2.0  # when there are so many times the rows it was made of, it is made anew
LATE = 20_000  # rows, or a tenth if that is more, that may be outside of it
FRAGMENTS = 32  # files of the table from which on small ones are joined
MARGIN = datetime.timedelta(minutes=1)  # of clocks, when old files are removed
FOREVER = datetime.timedelta(days=365_000)


class Built(NamedTuple):
    """What is known of an index.

    Attributes:
        rows: It was made of.
        cells: They lie in.
        probes: Cells to look into.
    """

    rows: int
    cells: int
    probes: int


def told(version: Mapping[str, Any]) -> Built | None:
    """The index of a version that ``index.json`` names, or None."""
    values = version.get("index")
    if not isinstance(values, list) or len(values) != 3 or not all(type(v) is int and v > 0 for v in values):
        return None
    return Built(*values)


def kept_up(
    table: Any, count: int, dim: int, built: Built | None, oldest: Mapping[str, Any] | None = None
) -> Built | None:
    """Make an index where there are many rows, or add to it those that it lacks; join small files.

    When files were joined, those that only versions before the ``oldest`` need are removed.
    """
    if count >= LEAST and (built is None or count > GROWTH * built.rows):
        built = _made(table, count, dim)
    late = 0 if built is None else _late(table)
    small = table.stats()["fragment_stats"]["num_small_fragments"]
    if small > FRAGMENTS or late > max(LATE, count // 10):
        table.optimize(cleanup_older_than=FOREVER)
        if oldest is not None:
            cleaned(table, oldest)
    return built


def asked(query: Any, built: Built | None, *, filtered: bool) -> Any:
    """A query that looks as hard as it must: a filter may let through only what is far away, so then into every cell."""
    if built is None:
        return query.bypass_vector_index()
    return query.nprobes(built.cells if filtered else built.probes).refine_factor(OVER)


def _made(table: Any, count: int, dim: int) -> Built:
    from lancedb.index import IvfRq, IvfSq

    cells = -(-count // CELL)
    kind = IvfSq if dim % 8 or dim < NARROW else IvfRq
    table.create_index(VECTOR, config=kind(distance_type="cosine", num_partitions=cells), replace=True)
    queries, truth = _sample(table, count)

    def recall(probes: int) -> float:
        found = 0
        for query, best in zip(queries, truth, strict=True):
            rows = asked(
                table.search(query, vector_column_name=VECTOR).distance_type("cosine"),
                Built(count, cells, probes),
                filtered=False,
            )
            near = rows.select([POSITION, "_distance"]).limit(DEPTH).to_arrow().column(POSITION).to_numpy()
            found += len(np.intersect1d(near, best))
        return found / max(1, sum(map(len, truth)))

    probes, _ = least_effort(recall, AIM, min(4, cells), cells)
    return Built(count, cells, probes)


def _sample(table: Any, count: int) -> tuple[Floats, list[Any]]:
    """Some vectors, and the positions of the closest to each."""
    places = np.sort(np.random.default_rng(0).permutation(count)[:SAMPLE])
    some, start = [], 0
    for _, vectors in _vectors(table):
        some.append(vectors[places[(places >= start) & (places < start + len(vectors))] - start])
        start += len(vectors)
    queries = np.concatenate(some)
    queries = queries[queries.any(axis=1)]
    scores = np.zeros((len(queries), 0), np.float32)
    found = np.zeros((len(queries), 0), np.int64)
    for positions, vectors in _vectors(table):
        there = vectors.any(axis=1)
        if len(queries) == 0 or not there.any():
            continue
        new, rows = top_k(queries, vectors[there], DEPTH)
        scores, found = np.hstack([scores, new]), np.hstack([found, positions[there][rows]])
        order = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
        scores, found = np.take_along_axis(scores, order, 1), np.take_along_axis(found, order, 1)
    return queries, list(found)


def _vectors(table: Any) -> Iterator[tuple[Any, Floats]]:
    for batch in table.search().select([POSITION, VECTOR]).to_batches(BLOCK):
        column = batch.column(VECTOR)
        values = np.asarray(column.flatten(), np.float32).reshape(-1, column.type.list_size)
        yield batch.column(POSITION).to_numpy(), values


def _late(table: Any) -> int:
    """Rows that the index does not hold."""
    for index in table.list_indices():
        if index.columns == [VECTOR]:
            return int(table.index_stats(index.name).num_unindexed_rows)
    return 0


def named(versions: Sequence[dict[str, Any]], least: int, days: float) -> list[dict[str, Any]]:
    """The versions to keep: the last ``least``, and all that were the index in the last ``days``."""
    now = datetime.datetime.now(datetime.UTC)
    first = max(0, len(versions) - least)
    while first > 0 and now - moment(versions[first]) < datetime.timedelta(days=days):
        first -= 1  # the one before was the index until this one came
    return list(versions[first:])


def moment(version: Mapping[str, Any]) -> datetime.datetime:
    """When a version was made; now, if that cannot be read."""
    try:
        found = datetime.datetime.fromisoformat(version["time"])
    except ValueError:
        return datetime.datetime.now(datetime.UTC)
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def cleaned(table: Any, oldest: Mapping[str, Any]) -> None:
    """Remove files that only versions older than one need, by more than MARGIN.

    To be called where nothing is left to be joined or indexed: LanceDB counts from when it begins to remove.
    """
    age = datetime.datetime.now(datetime.UTC) - moment(oldest)
    table.optimize(cleanup_older_than=max(age, datetime.timedelta(0)) + MARGIN)
