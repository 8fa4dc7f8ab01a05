"""Negatives as a table, in the formats of sentence-transformers' ``mine_hard_negatives``.

    triplet         anchor, positive, negative                      a row for each negative of each pair
    n-tuple         anchor, positive, negative_1, ..., negative_N   pairs that have all N
    labelled-pair   anchor, text, label                             1 for a positive, 0 for a negative
    labelled-list   anchor, texts, labels                           a pair's positive first

With scores there is a column more, ``scores`` (the positive's, then the negatives'); a score takes the place
of a label.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.mining.guards import Chosen
from statim.mining.pool import Pool

FORMATS = ("triplet", "n-tuple", "labelled-pair", "labelled-list")

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]


def table(pool: Pool, chosen: Chosen, positive_scores: Floats, kind: str, scores: bool) -> pa.Table:
    """The negatives of a pool as a table.

    Args:
        pool: m anchors with P positives in all.
        chosen: Their negatives.
        positive_scores: (P,) the positives' scores.
        kind: One of FORMATS.
        scores: Add the scores.
    """
    function = {
        "triplet": _triplets, "n-tuple": _tuples, "labelled-pair": _labelled_pairs,
        "labelled-list": _labelled_lists,
    }[kind]  # fmt: skip
    return pa.table(function(pool, chosen, positive_scores, scores))


def _triplets(pool: Pool, chosen: Chosen, positive_scores: Floats, scores: bool) -> dict[str, Any]:
    pairs, places = np.nonzero(chosen.positions[pool.owners] >= 0)
    owners = pool.owners[pairs]
    columns = {
        "anchor": _take(pool.anchors, owners),
        "positive": _take(pool.documents, pool.positives[pairs]),
        "negative": _take(pool.documents, chosen.positions[owners, places]),
    }
    if scores:
        both = np.stack([positive_scores[pairs], chosen.scores[owners, places]], axis=1)
        columns["scores"] = _lists(both)
    return columns


def _tuples(pool: Pool, chosen: Chosen, positive_scores: Floats, scores: bool) -> dict[str, Any]:
    wanted = chosen.positions.shape[1]
    pairs = np.flatnonzero((chosen.counts == wanted)[pool.owners])
    owners = pool.owners[pairs]
    columns = {
        "anchor": _take(pool.anchors, owners),
        "positive": _take(pool.documents, pool.positives[pairs]),
    }
    for place in range(wanted):
        columns[f"negative_{place + 1}"] = _take(pool.documents, chosen.positions[owners, place])
    if scores:
        columns["scores"] = _lists(np.column_stack([positive_scores[pairs], chosen.scores[owners]]))
    return columns


def _labelled_pairs(pool: Pool, chosen: Chosen, positive_scores: Floats, scores: bool) -> dict[str, Any]:
    """Each anchor's positives, then its negatives."""
    anchors, places = np.nonzero(chosen.positions >= 0)
    owners = np.concatenate([pool.owners, anchors])
    order = np.argsort(owners, kind="stable")
    documents = np.concatenate([pool.positives, chosen.positions[anchors, places]])[order]
    columns = {"anchor": _take(pool.anchors, owners[order]), "text": _take(pool.documents, documents)}
    if scores:
        columns["score"] = pa.array(np.concatenate([positive_scores, chosen.scores[anchors, places]])[order])
    else:
        columns["label"] = pa.array((order < len(pool.owners)).astype(np.int64))
    return columns


def _labelled_lists(pool: Pool, chosen: Chosen, positive_scores: Floats, scores: bool) -> dict[str, Any]:
    pairs = np.flatnonzero((chosen.counts > 0)[pool.owners])
    owners = pool.owners[pairs]
    documents = np.column_stack([pool.positives[pairs], chosen.positions[owners]])
    there = documents >= 0
    offsets = pa.array(np.append(0, np.cumsum(there.sum(axis=1))).astype(np.int32))
    texts = _take(pool.documents, documents[there])
    columns = {
        "anchor": _take(pool.anchors, owners),
        "texts": pa.ListArray.from_arrays(offsets, texts),
    }
    if scores:
        values = np.column_stack([positive_scores[pairs], chosen.scores[owners]])[there]
        columns["scores"] = pa.ListArray.from_arrays(offsets, pa.array(values))
    else:
        labels = np.broadcast_to(np.arange(documents.shape[1]) == 0, documents.shape)[there]
        columns["labels"] = pa.ListArray.from_arrays(offsets, pa.array(labels.astype(np.int64)))
    return columns


def _take(texts: pa.LargeStringArray, places: Longs) -> pa.LargeStringArray:
    return texts.take(pa.array(places))


def _lists(values: Floats) -> pa.ListArray:
    """(r, c) numbers as r lists."""
    offsets = pa.array(np.arange(len(values) + 1, dtype=np.int32) * values.shape[1])
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(values, np.float32).reshape(-1)))
