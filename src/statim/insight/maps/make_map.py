"""Makes maps: texts or an index in, points, clusters and their names out."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pyarrow as pa

from statim.addresses import is_database
from statim.errors import DataError, InputError
from statim.insight.maps.columns import check_color
from statim.insight.maps.map import Floats, Longs, Map, Space
from statim.insight.maps.options import MapKeywords, MapOptions
from statim.insight.maps.projections import project, turned
from statim.insight.maps.regions import clusters, named
from statim.model import StaticModel
from statim.models import ENGLISH
from statim.option import check_values, documented
from statim.search.index import Index
from statim.tasks.similarity.vector_set import Ints, Items, read_items

FEWEST = 3  # different texts on a map


@documented(MapOptions, MapKeywords)
def make_map(documents: Any, model: Any = None, **options: Unpack[MapKeywords]) -> Map:
    """Place texts on a map: those with similar vectors lie close together.

    Args:
        documents: Texts as ``statim.encode`` takes them, a path, a table, a list of ``Path``; or an index, or
            where one is.
        model: Makes the vectors: a model, or where one is (default english). An index has its own.
        against: A second model. Its map is turned to lie as close as possible to the first one's.
        color: The column to color by; clusters by default.
        column: The column of texts in files; guessed by default. Several are joined by line ends.
        table: In a database: the name of the index's tables.
        method: ``pacmap``, ``umap`` or ``pca``; by default pacmap, or pca for fewer than 50 different texts.
        sample: At most this many different texts are projected; the others are placed by their nearest
            neighbors among these.
        seed: Of all random choices.
        threads: Threads to use.
        progress: Show a progress bar on a terminal.

    Returns:
        The map. Texts without tokens that the model knows are left out.

    Raises:
        InputError: A value is out of range, there is no such column, or an index is given together with a
            model.
        DataError: A file cannot be used as it is, or there are fewer than 3 different texts.
        ModelError: A model or index cannot be loaded.
        DependencyError: The package that projects is not installed.
    """
    asked = MapOptions(**options)
    check_values(asked)
    started = time.perf_counter()
    first = _read(documents, model, asked)
    sides = [first] if asked.against is None else [first, _beside(first, asked)]
    read = time.perf_counter()
    known = np.logical_and.reduce([~side.items.zero[side.items_of] for side in sides])
    rows = np.flatnonzero(known)
    for side in sides:
        _check_enough(side, rows)
    others = pa.table({}) if first.items.beside is None else first.items.beside(rows)
    check_color(others, asked.color)
    places, method = _places(sides, rows, asked)
    projected = time.perf_counter()
    texts = first.items.text(rows)
    scales = [clusters(side.items, side.items_of[rows], asked.seed, asked.threads) for side in sides]
    spaces = tuple(
        Space(side.name, xy, named(texts, xy, own))
        for side, xy, own in zip(sides, places, scales, strict=True)
    )
    seconds = {
        "read and encode": read - started, "project": projected - read,
        "cluster": time.perf_counter() - projected,
    }  # fmt: skip
    return Map(
        texts, others, scales[0][0], spaces, method, asked.color, len(known) - len(rows), seconds
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Side:
    """The r rows as one model sees them.

    Attributes:
        name: What messages and the map call it.
        items: Its vectors.
        items_of: (r,) int32, the item of each row.
    """

    name: str
    items: Items
    items_of: Ints


def _places(sides: list[_Side], rows: Longs, asked: MapOptions) -> tuple[list[Floats], str]:
    """Where some rows are on each side's map, (n, 2), those of a second side turned; and the method."""
    found: list[Floats] = []
    method = asked.method
    for side in sides:
        known = np.flatnonzero(~side.items.zero)
        xy = np.zeros((len(side.items), 2), np.float32)
        xy[known], method = project(
            side.items.vectors[known], method, sample=asked.sample, seed=asked.seed, threads=asked.threads
        )
        found.append(xy[side.items_of[rows]])
    if len(found) > 1:
        found[1] = turned(found[1], found[0])
    return found, str(method)


def _read(documents: Any, model: Any, asked: MapOptions) -> _Side:
    """The documents, or those of an index, as their model sees them.

    Raises:
        InputError: An index is given together with a model, or a teacher made its vectors.
        DataError: A file cannot be used as it is.
        ModelError: The model or index cannot be loaded.
    """
    index = _index(documents, asked.table)
    if index is None:
        items = read_items(
            documents, model, column=asked.column, threads=asked.threads, progress=asked.progress
        )
        return _Side(_model_name(model), items, items.items_of)
    if model is not None:
        raise InputError(
            f"{index.path} is an index, which has its own model; leave the model out, or put the other one "
            "beside it (--against)"
        )
    if index.info().get("documents_by") is not None:
        raise InputError(
            f"a teacher made the documents' vectors of {index.path}; map the documents with a model instead"
        )
    table = pa.concat_tables(index.documents()).sort_by("id")
    items = read_items(table, index.model, column="text", threads=asked.threads, progress=asked.progress)
    return _Side(str(index.path), items, items.items_of)


def _index(documents: Any, table: str) -> Index | None:
    """The index that is given, or stands at the path that is given."""
    if isinstance(documents, Index):
        return documents
    if isinstance(documents, (str, Path)) and (
        is_database(documents) or (Path(documents) / "index.json").is_file()
    ):
        return Index.load(documents, table=table)
    return None


def _model_name(model: Any) -> str:
    if model is None:
        return ENGLISH
    return "model" if isinstance(model, StaticModel) else str(model)


def _beside(first: _Side, asked: MapOptions) -> _Side:
    """The same rows as the second model sees them."""
    items = read_items(first.items.texts, asked.against, threads=asked.threads, progress=asked.progress)
    return _Side(_model_name(asked.against), items, items.items_of[first.items.texts_of])


def _check_enough(side: _Side, rows: Longs) -> None:
    """Refuse to map too few different texts.

    Raises:
        DataError: Fewer than 3 places would be taken.
    """
    different = len(np.unique(side.items_of[rows]))
    if different < FEWEST:
        raise DataError(
            f"a map needs at least {FEWEST} different texts with tokens that {side.name} knows (found: "
            f"{different} of {len(side.items_of):,})"
        )
