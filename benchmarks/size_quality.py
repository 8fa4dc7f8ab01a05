"""Size against quality: a model at fewer dimensions and in fewer bits, one table and one picture.

    python benchmarks/size_quality.py MODEL EVAL [--picture size.svg] [--page docs/league.md]

Dimensions full, 256, 128, 64 and 32 (those below the model's) times float32, float16, int8 and binary,
averaged over the families STS (two sets), classification (four) and retrieval (three) of the league's test
sets. The model's table and the vectors it gives are both of the type. Binary is of vectors alone: their
signs, as +1 and -1, whose cosine falls as the Hamming distance rises; the table is float32 there. "bytes a
vector" is what an index keeps.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chart import COLOURS, Line, chart
from league_sets import Column, test_columns
from pages import write_between
from statim import StaticModel
from statim.evaluation import table
from statim.files import atomic_file
from statim.quantize import VECTORS, width

FAMILIES = ("STS", "classification", "retrieval")
DIMS = (256, 128, 64, 32)
MARKS = ("<!-- sizes -->", "<!-- end of sizes -->")
BYTES = {"float32": 4, "float16": 2, "int8": 1}
LINES = {
    "float32": (COLOURS[0], "none"),
    "float16": (COLOURS[1], "7 4"),
    "int8": (COLOURS[2], "2 3"),
    "binary": (COLOURS[3], "10 3 2 3"),
}


class Sized:
    """A model cut to fewer dimensions, with its table and its vectors in fewer bits, as an encoder."""

    def __init__(self, model: StaticModel, dim: int, dtype: str) -> None:
        self._model = model.quantize(dtype) if dtype in BYTES else model
        self._dim, self._dtype = dim, dtype

    def encode(self, texts: Any, *, progress: bool = False) -> npt.NDArray[np.float32]:  # noqa: ARG002
        """The vectors of texts, (n, dim) float32 of length 1; of binary from signs of +1 and -1."""
        found = self._model.encode(texts, dim=self._dim, dtype=self._dtype)
        if self._dtype == "binary":
            found = np.unpackbits(found, axis=1, count=self._dim).astype(np.float32) * 2 - 1
        lengths = np.linalg.norm(found.astype(np.float32), axis=1, keepdims=True)
        return (found / np.where(lengths > 0, lengths, 1)).astype(np.float32)

    encode_query = encode_document = encode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--families", nargs="+", choices=FAMILIES, default=FAMILIES, help="classification takes longest"
    )
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    model = StaticModel.load(arguments.model)
    families = arguments.families
    columns = [
        c for c in test_columns(arguments.data) if c.family in families and not (c.home or c.saturated)
    ]
    rows = []
    for dim in (model.dim, *(dim for dim in DIMS if dim < model.dim)):
        for dtype in VECTORS:
            rows.append(measured(model, dim, dtype, columns, families))
            print(rows[-1], flush=True)
    header = ["dimensions", "type", "table, MB", "bytes a vector", *families, "average"]
    body = [
        [str(row["dim"]), row["dtype"], f"{row['table_megabytes']:.1f}", str(row["vector_bytes"]),
         *(f"{row[name]:.1f}" for name in (*families, "average"))]
        for row in rows
    ]  # fmt: skip
    print(table.plain(header, body, left=2))
    if arguments.picture:
        with atomic_file(arguments.picture) as file:
            file.write(picture(rows, families).encode())
    if arguments.page:
        write_between(arguments.page, MARKS, table.markdown(header, body, left=2))
    print(json.dumps({"benchmark": "size_quality", "tokens": len(model.table), "rows": rows}))


def measured(
    model: StaticModel, dim: int, dtype: str, columns: Sequence[Column], families: Sequence[str]
) -> dict[str, Any]:
    """One row: sizes, and the averages of families times 100."""
    encoder = Sized(model, dim, dtype)
    found = {name: [c.figure(c.measure(encoder)) for c in columns if c.family == name] for name in families}
    averages = {name: round(100 * float(np.mean(figures)), 2) for name, figures in found.items()}
    tokens = len(model.table)
    scales = 4 * tokens if dtype == "int8" else 0
    return {
        "dim": dim, "dtype": dtype, "table_megabytes": round((tokens * dim * BYTES.get(dtype,
            4) + scales) / 1e6, 1),
        "vector_bytes": width(dim, dtype) * BYTES.get(dtype, 1), **averages,
        "average": round(float(np.mean(list(averages.values()))), 2),
    }  # fmt: skip


def picture(rows: Sequence[dict[str, Any]], families: Sequence[str]) -> str:
    """The average of the families over the bytes of a vector, one line a type; SVG."""
    sizes, scores = [row["vector_bytes"] for row in rows], [row["average"] for row in rows]
    powers = range(int(np.ceil(np.log2(min(sizes)))), int(np.floor(np.log2(max(sizes)))) + 1)
    grid = np.arange(5 * np.floor(min(scores) / 5), 5 * np.ceil(max(scores) / 5) + 1, 5)
    lines = []
    for dtype, (colour, dashes) in LINES.items():
        points = [
            (row["vector_bytes"], row["average"],
             f"{dtype}, {row['dim']} dimensions, {row['vector_bytes']:,} bytes: {row['average']:.1f}")
            for row in rows
            if row["dtype"] == dtype
        ]  # fmt: skip
        lines.append(Line(dtype, colour, dashes, points))
    return chart(
        "Size against quality", f"Average of {', '.join(families)} (x 100)", "bytes a vector",
        [(2**power, f"{2**power:,}") for power in powers], [(float(score), f"{score:g}") for score in grid],
        lines,
    )  # fmt: skip


if __name__ == "__main__":
    main()
