"""A map of texts: points, clusters and their names."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from statim.counted import counted
from statim.insight.maps.regions import Label

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
        color: The column to color by at first; None for the clusters.
        left_out: How many more texts have no token that every model knows.
        seconds: Phase -> seconds.
    """

    texts: Any
    columns: pa.Table
    clusters: Longs
    spaces: tuple[Space, ...]
    method: str
    color: str | None
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
        lines = [
            f"{counted(len(self), 'texts')}, {counted(len(self.cluster_names), 'clusters')} ({self.method})"
        ]
        if self.left_out:
            lines[0] += f"; left out: {counted(self.left_out, 'texts')} without a token that the model knows"
        sizes = np.bincount(self.clusters)
        return "\n".join(
            lines + [f"{size:>9,}  {name}" for size, name in zip(sizes, self.cluster_names, strict=True)]
        )
