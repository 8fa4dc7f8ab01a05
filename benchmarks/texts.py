"""Real texts from folders of pairs, which the benchmarks of tasks share."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from statim.data.files.columns import is_text
from statim.data.files.tables import tables

FIELDS = ("anchor", "positive", "negative")


def write_texts(sources: list[str], count: int, path: Path, *, seed: int = 0) -> int:
    """Write ``count`` random texts of the pairs of files or folders; return how many there are."""
    found: list[pa.Array] = []
    for source in map(Path, sources):
        for file in sorted(source.rglob("train.jsonl*")) if source.is_dir() else [source]:
            for table in tables(file):
                for field in table.schema:
                    if field.name in FIELDS and is_text(field.type):
                        column = table.column(field.name).drop_null().cast(pa.large_string())
                        found += column.chunks
    texts = pa.concat_arrays(found)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(texts))[:count])
    pq.write_table(pa.table({"text": texts.take(pa.array(chosen))}), path, row_group_size=1 << 16)
    return len(chosen)
