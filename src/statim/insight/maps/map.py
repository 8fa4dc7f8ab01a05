"""A map of texts: points, clusters and their names, as data, a page or a picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.errors import InputError
from statim.insight.maps.regions import Label

PAGES = (".html", ".htm")
PICTURES = (".png", ".svg", ".pdf")
TABLES = (".parquet", ".jsonl", ".csv")

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Space:
    """The n texts as one model places them.

    Attributes:
        name: The model, or the index.
        xy: (n, 2) float32, around 0, within -1 and 1.
        labels: The names of its clusters, coarse to fine.
    """

    name: str
    xy: Floats
    labels: tuple[Label, ...]


@dataclass(frozen=True, eq=False)
class Map:
    """A map of n texts.

    Attributes:
        texts: The texts, a pyarrow array.
        columns: Their other columns.
        clusters: (n,) int64, each text's cluster in the first space, on the coarsest scale; 0 is the largest.
        spaces: The first model's space, and the second's where one was given.
        method: How vectors were projected.
        left_out: How many more texts have no token that every model knows.
        seconds: Phase -> seconds.
    """

    texts: Any
    columns: pa.Table
    clusters: Longs
    spaces: tuple[Space, ...]
    method: str
    left_out: int
    seconds: dict[str, float]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def cluster_names(self) -> list[str]:
        """The typical words of each cluster."""
        return [label.words for label in self.spaces[0].labels if label.scale == 0]

    def table(self) -> pa.Table:
        """Every text: text, x, y (also x_against, y_against), cluster, cluster_words and its other columns.

        Embedding Atlas reads it as a Parquet file.
        """
        from statim.data.documents.beside import behind

        found = {"text": self.texts}
        for space, suffix in zip(self.spaces, ("", "_against"), strict=False):
            found |= {f"{axis}{suffix}": pa.array(space.xy[:, i]) for i, axis in enumerate("xy")}
        names = pa.array(self.cluster_names, pa.string()).take(pa.array(self.clusters))
        found |= {"cluster": pa.array(self.clusters), "cluster_words": names}
        return behind(pa.table(found), self.columns)

    def html(self, color: str | None = None) -> str:
        """One page that needs no network.

        Args:
            color: The column to color by at first; clusters by default.

        Raises:
            InputError: There is no such column.
            DependencyError: pydeck, which holds deck.gl, is not installed.
        """
        from statim.insight.maps.page import page

        return page(self, color)

    def write(self, path: str | Path, *, color: str | None = None, overwrite: bool = False) -> None:
        """Write the map, atomically.

        Args:
            path: Its suffix tells what is written: .html a page; .png, .svg or .pdf a picture; .parquet,
                .jsonl or .csv a table.
            color: The column to color by; clusters by default.
            overwrite: Replace a file.

        Raises:
            InputError: The suffix is none of these, the file exists, or there is no such column.
            StorageError: The disk is full, read-only, or not permitted. What stood there still stands.
            DependencyError: pydeck or matplotlib is not installed.
        """
        from statim.data.files.writing import write_table
        from statim.files import atomic_file

        path = check_map_output(path, overwrite=overwrite)
        if path.suffix in TABLES:
            write_table(path, self.table())
            return
        if path.suffix in PAGES:
            written = self.html(color).encode("utf-8", "backslashreplace")
        else:
            from statim.insight.maps.picture import picture

            written = picture(self, path.suffix, color)
        with atomic_file(path) as file:
            file.write(written)

    def to_dict(self) -> dict[str, Any]:
        """Figures and the names of clusters: plain values for JSON."""
        return {
            "texts": len(self), "left_out": self.left_out, "method": self.method,
            "spaces": [
                {"name": space.name, "labels": [vars(label) for label in space.labels]}
                for space in self.spaces
            ],
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [f"{len(self):,} texts, {len(self.cluster_names)} clusters ({self.method})"]
        if self.left_out:
            lines[0] += f"; {self.left_out:,} more have no token that the model knows"
        sizes = np.bincount(self.clusters)
        return "\n".join(
            lines + [f"{size:>9,}  {name}" for size, name in zip(sizes, self.cluster_names, strict=True)]
        )


def check_map_output(path: str | Path, *, overwrite: bool) -> Path:
    """Refuse a file of an unknown kind, or that exists, before any work is done.

    Raises:
        InputError: The suffix is unknown, or the file exists and ``overwrite`` is off.
    """
    path = Path(path)
    if path.suffix not in (*PAGES, *PICTURES, *TABLES):
        raise InputError(
            f"{path} ends with {path.suffix or 'nothing'}; name a page (.html), a picture "
            f"({', '.join(PICTURES)}) or a table ({', '.join(TABLES)})"
        )
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; choose another name, or allow overwriting (--overwrite)")
    return path
