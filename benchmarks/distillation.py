"""What a teacher's vectors of plain texts give a static model, on development data alone. The last line is JSON.

python benchmarks/distillation.py STS_FOLDER PAIRS... [--texts 12000] [--seeds 1]

STS_FOLDER holds stsb_dev.jsonl and sickr_dev.jsonl; PAIRS are files of pairs, of which DEVELOPMENT are split off without
near-duplicates and the first ROWS are used. The texts of the rest that are short are what the teacher reads, as many of each file. No
test split is read.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from statim.data.pairs import Pairs
from statim.data.reading import read_pairs
from statim.data.split import split
from statim.teacher import Teacher
from statim.training.teacher_vectors import teacher_vectors

ROWS, DEVELOPMENT, SHORT = 8000, 300, 160  # pairs read of a file, held out of them; letters of a text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("sts", type=Path)
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--texts", type=int, default=12_000)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    teacher = Teacher.load()
    parts = {path.parent.name: held_out(path) for path in arguments.sources}
    texts = short_texts([part.train for part in parts.values()], arguments.texts)
    began = time.perf_counter()
    teacher_vectors(teacher, texts, progress=True)
    print(f"the teacher's vectors of {len(texts):,} texts: {time.perf_counter() - began:.1f} s", flush=True)


def held_out(path: Path) -> Any:
    """The first pairs of a file, some of them for development."""
    pairs = read_pairs(path)
    return split(pairs.select(range(min(ROWS, len(pairs)))), development=DEVELOPMENT, test=0)


def short_texts(sets: list[Pairs], count: int) -> pa.LargeStringArray:
    """So many different short texts, as many of each set, drawn by a fixed seed."""
    drawn = []
    for pairs in sets:
        texts = pa.concat_arrays([pairs.anchors, pairs.positives]).unique()
        texts = texts.filter(pc.less_equal(pc.utf8_length(texts), SHORT))
        order = np.random.default_rng(0).permutation(len(texts))
        drawn.append(texts.take(pa.array(order[: count // len(sets)])))
    mixed = pa.concat_arrays(drawn).unique()
    return mixed.take(pa.array(np.random.default_rng(1).permutation(len(mixed))))


if __name__ == "__main__":
    main()
