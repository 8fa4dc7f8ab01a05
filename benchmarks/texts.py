"""Real texts from folders of pairs, for the benchmarks of tasks."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from statim.data.tables import tables

FIELDS = ("anchor", "positive", "negative")


def write_texts(folders: list[str], count: int, path: Path, *, seed: int = 0) -> int:
    """Write ``count`` texts of all pairs under some folders, drawn at random, to a Parquet file; gives how many there are."""
    found: list[pa.Array] = []
    files = [file for folder in map(Path, folders) for file in (sorted(folder.rglob("train.jsonl*")) if folder.is_dir() else [folder])]
    for file in files:
        for table in tables(file):
            found += [
                chunk.drop_null().cast(pa.large_string())
                for name in FIELDS
                if name in table.column_names and pa.types.is_large_string(table.schema.field(name).type) | pa.types.is_string(table.schema.field(name).type)
                for chunk in table.column(name).chunks
            ]
    texts = pa.concat_arrays(found)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(texts))[:count])
    pq.write_table(pa.table({"text": texts.take(pa.array(chosen))}), path, row_group_size=1 << 16)
    return len(chosen)
