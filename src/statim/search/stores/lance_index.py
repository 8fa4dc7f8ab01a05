"""The approximate index inside a LanceDB table, and what keeps the table tidy.

Vectors lie in cells of k-means (IVF). In the cells closest to a query one bit a dimension is compared
(RaBitQ: Gao and Long, 2024), and the best are compared again as they are. It is built in seconds, unlike a
graph (HNSW). LanceDB makes it of dimensions that 8 divides; others have a byte each, as have few dimensions,
whose bits would say too little. Where all cells together miss the aim on a sample of the vectors, more
candidates are compared as they are; then bytes take the place of bits, then the vectors themselves. Rows that
the index does not hold yet are compared exactly beside it.
"""

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from statim.search.engines.protocol import Floats, Positions
from statim.search.engines.recall import SIZE, Sample
from statim.search.engines.tuning import AIM, ALL, DEPTH, Recall, least_effort
from statim.search.stores.lance_rows import BLOCK, POSITION, VECTOR, unpacked

LEAST = 50_000  # rows from which on there is an index
CELL = 4096  # rows in a cell
NARROW = 64  # dimensions below which there are too few bits
OVER = 8  # candidates for each result that are compared as they are, of an index that does not say
SPARE = 16  # more than asked for, among which the exact scores choose
DEEP, SOME = (
    100,
    16,
)  # results for which cells are counted too (hybrid search asks for them), of this many of the sample
WANTED = (1 + AIM) / 2  # of the sample, so that other queries, for which nothing was chosen, reach the aim
FEWEST = 4  # cells that are always looked into, if there are any more; they cost little
SCAN = 8  # rows that are read in order as quickly as one candidate is fetched
GROWTH = 2.0  # when there are this many times the rows it was made of, it is made again
LATE = 20_000  # rows, or a tenth if that is more, that may be outside of it
FRAGMENTS = 32  # files of the table from which on small ones are joined
MARGIN = datetime.timedelta(minutes=1)  # of clocks, when old files are removed
FOREVER = datetime.timedelta(days=365_000)


class Built(NamedTuple):
    """What is known of an index.

    Attributes:
        rows: It was made of.
        cells: They lie in.
        probes: Cells to look into for DEPTH results and one more, or fewer.
        deep: Likewise for up to DEEP; for more, all are looked into.
        over: Candidates for each result that are compared as they are.
        recall: What it finds of its own vectors; None of an index of an earlier statim.
        recall_at_1: Likewise, of the nearest alone.
    """

    rows: int
    cells: int
    probes: int
    deep: int
    over: int
    recall: float | None
    recall_at_1: float | None


def told(version: Mapping[str, Any]) -> Built | None:
    """The index of a version that ``index.json`` names, or None."""
    values = version.get("index")
    if isinstance(values, list) and len(values) == 3:  # of an earlier statim
        values = {"rows": values[0], "cells": values[1], "probes": values[2], "deep": values[1], "over": OVER}
        values |= {"recall": None, "recall_at_1": None}
    if not isinstance(values, dict) or values.keys() != set(Built._fields):
        return None
    counts = [values[name] for name in Built._fields[:5]]
    shares = [values[name] for name in Built._fields[5:]]
    sound = all(type(value) is int and value > 0 for value in counts)
    sound &= all(value is None or (isinstance(value, (int, float)) and 0 <= value <= 1) for value in shares)
    return Built(**values) if sound else None


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


def nearest(
    table: Any, built: Built | None, query: Floats, k: int, sql: str | None = None
) -> tuple[Positions, Floats]:
    """The k nearest rows of one query: positions and cosines, best first.

    Where the index gives fewer than asked, all vectors are compared.

    Args:
        table: LanceDB's.
        built: Its index.
        query: (d,) of length 1.
        k: How many.
        sql: A condition on the rows.
    """
    limit = k + SPARE
    by_index = built is not None and SCAN * built.over * limit <= built.rows
    found = _asked(table, built if by_index else None, query, k, sql)
    if by_index and len(found) < limit:
        found = _asked(table, None, query, k, sql)
    positions, vectors = unpacked(found)
    scores = (vectors * query.astype(np.float64)).sum(axis=1).astype(np.float32)
    there = np.flatnonzero(vectors.any(axis=1))
    best = there[np.lexsort((positions[there], -scores[there]))[:k]]
    return positions[best], scores[best]


def _asked(table: Any, built: Built | None, query: Floats, k: int, sql: str | None) -> pa.Table:
    """A few more rows than k; with a filter, which may let through only what is far away, from every cell."""
    asked = table.search(query, vector_column_name=VECTOR).distance_type("cosine")
    if built is None:
        asked = asked.bypass_vector_index()
    else:
        all_cells = sql is not None or k > DEEP + 1
        wide = built.cells if all_cells else built.deep if k > DEPTH + 1 else built.probes
        asked = asked.nprobes(wide).refine_factor(built.over)
    if sql is not None:
        asked = asked.where(sql, prefilter=True)
    found: pa.Table = asked.select([POSITION, VECTOR, "_distance"]).limit(k + SPARE).to_arrow()
    return found


def _made(table: Any, count: int, dim: int) -> Built:
    """The first kind of index whose cells together find what is WANTED; then as few cells as find that."""
    from lancedb.index import IvfFlat, IvfRq, IvfSq

    cells = -(-count // CELL)
    bits = [] if dim % 8 or dim < NARROW else [(IvfRq, (OVER, 2 * OVER, 4 * OVER))]
    sample = _sample(table, count)
    for kind, overs in (*bits, (IvfSq, (OVER,)), (IvfFlat, (1,))):
        config = kind(distance_type="cosine", num_partitions=cells)
        table.create_index(VECTOR, config=config, replace=True)
        for over in overs:
            built = Built(count, cells, cells, cells, over, *ALL)
            if sample.recall(partial(nearest, table, built)).recall >= WANTED:
                return _probed(table, built, sample)
    return built


def _probed(table: Any, built: Built, sample: Sample) -> Built:
    """The same index, with as few cells to look into as find what is WANTED."""
    found: dict[int, Recall] = {}

    def recall(probes: int) -> float:
        found[probes] = sample.recall(partial(nearest, table, built._replace(probes=probes)))
        return found[probes].recall

    def deep_recall(deep: int) -> float:
        return sample.recall(partial(nearest, table, built._replace(deep=deep)), DEEP, SOME).recall

    probes = _fewest(recall, min(FEWEST, built.cells), built.cells)
    deep = _fewest(deep_recall, probes, built.cells)
    return built._replace(probes=probes, deep=deep, **found[probes]._asdict())


def _fewest(recall: Callable[[int], float], least: int, most: int) -> int:
    """Cells that find what is WANTED, ``least`` or more."""
    if recall(least) >= WANTED or least == most:
        return least
    return max(least, least_effort(recall, WANTED, min(2 * least, most), most)[0])


def _sample(table: Any, count: int) -> Sample:
    """Some vectors, each compared with all."""
    places = np.sort(np.random.default_rng(0).permutation(count)[:SIZE])
    queries, own, start = [], [], 0
    for positions, vectors in _vectors(table):
        here = places[(places >= start) & (places < start + len(vectors))] - start
        queries.append(vectors[here])
        own.append(positions[here])
        start += len(vectors)
    return Sample(np.concatenate(own), np.concatenate(queries), _vectors(table), DEEP)


def _vectors(table: Any) -> Iterator[tuple[Positions, Floats]]:
    for batch in table.search().select([POSITION, VECTOR]).to_batches(BLOCK):
        yield unpacked(pa.Table.from_batches([batch]))


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
