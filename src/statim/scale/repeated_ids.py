"""Ids that occur twice in shards, found in bounded memory."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from statim.data.text_column import buffers
from statim.errors import DataError
from statim.model import StaticModel
from statim.scale.jobs import Lost, Run
from statim.scale.output import Written
from statim.scale.storage import Place, place

MOST = 1 << 25  # hashes looked at together: 256 MB, and as much to sort them

Hashes = npt.NDArray[np.uint64]


def check(run: Run, out: Place, written: Sequence[Written]) -> None:
    """Refuse ids that occur twice in a folder of shards.

    They are compared by a hash of 64 bits, in parts of its range; what has equal hashes is read again.

    Raises:
        DataError: One does; the message names it and its shards.
    """
    if not any(one.own_ids for one in written):
        return
    names = sorted(one.name for one in written)
    parts = -(-sum(one.texts for one in written) // MOST)
    for part in range(parts):
        found = dict(run(functools.partial(_hashes, out=out.address, part=part, parts=parts), names))
        twice = _twice([one for one in found.values() if not isinstance(one, Lost)])
        if len(twice):
            _refuse(out, names, twice)


def _refuse(out: Place, names: Sequence[str], twice: Hashes) -> None:
    seen: dict[str, str] = {}
    for name in names:
        for ids in _ids(out / name):
            for place_ in np.flatnonzero(np.isin(_hashed(ids), twice)).tolist():
                one = ids[place_].as_py()
                if one in seen:
                    where = f"twice in {name}" if seen[one] == name else f"in {seen[one]} and in {name}"
                    raise DataError(
                        f"the id {one[:80]!r} is {where}; ids must differ across shards, so mend these or "
                        "name another column with --id"
                    )
                seen[one] = name


def _hashes(name: str, model: StaticModel, threads: int | None, *, out: str, part: int, parts: int) -> Hashes:
    """The hashes of a shard's ids that lie in a part of their range."""
    del model, threads
    found = [np.zeros(0, np.uint64)]
    for ids in _ids(place(out) / name):
        hashes = _hashed(ids)
        found.append(hashes if parts == 1 else hashes[hashes % np.uint64(parts) == part])
    return np.concatenate(found)


def _ids(shard: Place) -> Any:
    """The ids of a shard, some at a time."""
    with shard.files.open_input_file(shard.path) as file:
        for batch in pq.ParquetFile(file).iter_batches(columns=["id"]):
            yield batch.column(0).cast(pa.large_string())


def _hashed(ids: pa.LargeStringArray) -> Hashes:
    from statim.kernels.text.identity import fingerprints

    first: Hashes = fingerprints(*buffers(ids))[:, 0]
    return first


def _twice(hashes: Sequence[Hashes]) -> Hashes:
    together = np.concatenate([np.zeros(0, np.uint64), *hashes])
    together.sort()
    return np.unique(together[1:][together[1:] == together[:-1]])
