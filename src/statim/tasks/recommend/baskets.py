"""Baskets: what people took together; read, parted, and turned into pairs to train on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from statim.data.files import columns, tables
from statim.data.pairs.pairs import Pairs
from statim.errors import DataError

LISTS = ("items", "item_ids", "basket", "products", "product_ids")
ITEM = ("item", "item_id", "product", "product_id", "article", "article_id", "_id", "id")
OWNER = (
    "basket",
    "basket_id",
    "order",
    "order_id",
    "session",
    "session_id",
    "user",
    "user_id",
    "customer",
    "customer_id",
)
WEIGHT = ("weight", "rating", "quantity", "count")

PARTNERS = 5  # other items of its basket that each item is paired with, at most

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Baskets:
    """b baskets of items, each item once in a basket.

    Attributes:
        names: b names.
        offsets: (b + 1,) int64: basket i has the entries from offsets[i] to offsets[i + 1].
        items: (m,) int64, each entry's position in the catalogue.
        weights: (m,) float64, above 0; 1 where none is given.
    """

    names: list[str]
    offsets: Positions
    items: Positions
    weights: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def owners(self) -> Positions:
        """(m,) the basket of each entry."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def select(self, chosen: Sequence[int] | Positions) -> "Baskets":
        """Those at some positions."""
        rows = np.asarray(chosen, np.int64)
        sizes = np.diff(self.offsets)[rows]
        offsets = np.append(0, np.cumsum(sizes))
        places = np.repeat(self.offsets[rows] - offsets[:-1], sizes) + np.arange(offsets[-1])
        return Baskets([self.names[i] for i in rows], offsets, self.items[places], self.weights[places])

    def keep(self, entries: npt.NDArray[np.bool_]) -> "Baskets":
        """The same baskets with some of their entries."""
        counts = np.bincount(self.owners[entries], minlength=len(self))
        return Baskets(
            self.names, np.append(0, np.cumsum(counts)), self.items[entries], self.weights[entries]
        )

    def pairs(self, texts: pa.LargeStringArray, seed: int = 0) -> Pairs:
        """Each item's text with the texts of up to PARTNERS others of its basket, drawn by the seed.

        Raises:
            DataError: No basket has two items of different texts.
        """
        sizes = np.repeat(np.diff(self.offsets), np.diff(self.offsets))
        starts = np.repeat(self.offsets[:-1], np.diff(self.offsets))
        inside = np.arange(len(self.items)) - starts
        random = np.random.default_rng(seed)
        anchors, partners = [], []
        # a step of its own for each round, all different: no partner is drawn twice
        first = random.integers(0, np.maximum(sizes - 1, 1))
        for step in range(PARTNERS):
            some = np.flatnonzero(sizes > step + 1)
            further = 1 + (first[some] + step) % (sizes[some] - 1)
            anchors.append(self.items[some])
            partners.append(self.items[starts[some] + (inside[some] + further) % sizes[some]])
        left, right = (texts.take(pa.array(np.concatenate(side))) for side in (anchors, partners))
        different = pc.not_equal(left, right)
        left, right = left.filter(different), right.filter(different)
        if len(left) < 2:
            raise DataError(
                "no two baskets have two items of different texts each; there is nothing to learn from them"
            )
        return Pairs(left, right)


def read_baskets(
    source: Any,
    ids: pa.LargeStringArray,
    *,
    items: str | None = None,
    owner: str | None = None,
    weight: str | None = None,
) -> Baskets:
    """Read baskets: a row for each, with a list of items; or a row for each item of a basket.

    Args:
        source: A file, a table or a data frame; see ``statim.data.files.tables.read_table``.
        ids: The ids of the catalogue.
        items: The column of lists of ids, or of ids; guessed by default (items; item, product_id …).
        owner: The column that says whose, or which, basket it is; guessed by default; without one, with
            lists, baskets are numbered.
        weight: The column of weights, with a row for each item; guessed by default (weight, rating …), else
            all are 1.

    Raises:
        DataError: The source cannot be read, a column is not there, an item is missing or not in the
            catalogue, or a weight is no number above 0; the message names the row.
    """
    if isinstance(source, Baskets):
        return source
    table, where = tables.read_table(source), tables.label(source)
    names = table.column_names
    chosen = columns.named(names, items, where) if items is not None else _list_column(table)
    if chosen is not None and pa.types.is_nested(table.schema.field(chosen).type):
        array = columns.flat(table.column(chosen)).cast(pa.large_list(_values(table, chosen, where)))
        if array.null_count:
            row = int(np.argmax(np.asarray(array.is_null())))
            raise DataError(f"{where}, row {row + 1}: {chosen!r} is missing; it must be a list of items")
        rows = np.asarray(pc.list_parent_indices(array), np.int64)
        given = pc.list_flatten(array)
        named = owner or columns.usual([name for name in names if name != chosen], OWNER)
        owners = (
            columns.texts(table, columns.named(names, named, where), where, any_type=True).to_pylist()
            if named
            else list(map(str, range(len(table))))
        )
        return _baskets(owners, rows, rows, _positions(given, ids, rows, where), np.ones(len(given)))
    chosen = columns.pick(names, "item", items, ITEM, where)
    whose = columns.pick([name for name in names if name != chosen], "owner of a basket", owner, OWNER, where)
    keys = columns.texts(table, whose, where, any_type=True)
    if keys.null_count:
        row = int(np.argmax(np.asarray(keys.is_null())))
        raise DataError(
            f"{where}, row {row + 1}: {whose!r} is missing; every row must say whose basket it is"
        )
    codes = keys.dictionary_encode()
    rows = np.arange(len(table))
    given = columns.texts(table, chosen, where, any_type=True)
    named = columns.named(names, weight, where) if weight else columns.usual(names, WEIGHT)
    weights = np.ones(len(table)) if named is None else _weights(table, named, where)
    owned = np.asarray(codes.indices, np.int64)
    return _baskets(codes.dictionary.to_pylist(), owned, rows, _positions(given, ids, rows, where), weights)


def _list_column(table: pa.Table) -> str | None:
    lists = [field.name for field in table.schema if pa.types.is_nested(field.type)]
    return columns.usual(lists, LISTS) or (lists[0] if len(lists) == 1 else None)


def _values(table: pa.Table, name: str, where: str) -> pa.DataType:
    """The type of the items in a column of lists.

    Raises:
        DataError: It holds something else.
    """
    kind = table.schema.field(name).type
    value = getattr(kind, "value_type", None)
    if value is None or pa.types.is_nested(value):
        raise DataError(f"{where}: {name!r} holds {str(kind)[:80]}, not lists of items; name another column")
    return value


def _positions(given: pa.Array, ids: pa.LargeStringArray, rows: Positions, where: str) -> Positions:
    """Where in the catalogue each item stands."""
    texts = columns.texts(pa.table({"item": given}), "item", where, any_type=True)
    found = pc.index_in(texts, value_set=ids)
    if found.null_count:
        place = int(np.argmax(np.asarray(found.is_null())))
        item = texts[place].as_py()
        what = "an item is missing" if item is None else f"the item {item!r} is not in the catalogue"
        raise DataError(
            f"{where}, row {int(rows[place]) + 1}: {what}; every item must be one of its {len(ids):,} ids"
        )
    return np.asarray(found, np.int64)


def _weights(table: pa.Table, name: str, where: str) -> npt.NDArray[np.float64]:
    try:
        weights = np.array(columns.flat(table.column(name)).cast(pa.float64()).fill_null(np.nan), np.float64)
    except pa.ArrowInvalid as error:
        raise DataError(f"{where}: {name!r} holds no numbers ({str(error)[:80]})") from None
    wrong = ~(np.isfinite(weights) & (weights > 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"{where}, row {row + 1}: {name!r} is {weights[row]:g}; it must be a number above 0")
    return weights


def _baskets(
    names: list[str], owners: Positions, rows: Positions, items: Positions, weights: npt.NDArray[np.float64]
) -> Baskets:
    """Entries ordered by basket; a repeated item counts once, with the sum of its weights."""
    order = np.lexsort((rows, items, owners))
    owners, items, weights = owners[order], items[order], weights[order]
    first = np.ones(len(items), np.bool_)
    first[1:] = (owners[1:] != owners[:-1]) | (items[1:] != items[:-1])
    starts = np.flatnonzero(first)
    sums = np.add.reduceat(weights, starts) if len(starts) else weights
    counts = np.bincount(owners[starts], minlength=len(names))
    return Baskets(names, np.append(0, np.cumsum(counts)), items[starts], sums)
