"""Two models on the same texts: how far their neighbours agree, where they disagree, and which is better."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from statim.errors import InputError
from statim.evaluation import Report, Row, evaluate, table
from statim.evaluation.encoders import Encoder, load_encoder
from statim.insight.any_texts import drawn, read_any
from statim.model import StaticModel
from statim.search.engines.exact import top_k, unit

SAMPLE = 5000
SHOWN = 70  # characters of a text in an example
SURE = 0.05  # the two-sided p below which a difference counts as sure

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Side:
    """One of the two models.

    Attributes:
        name: Its path or name.
        dim: Dimensions.
        megabytes: Of its table; None for a transformer.
        texts_per_second: Encoding the texts, the first ones left out.
    """

    name: str
    dim: int
    megabytes: float | None
    texts_per_second: float


@dataclass(frozen=True)
class Disagreement:
    """A text whose neighbours differ.

    Attributes:
        text: The text.
        shared: The share of its k nearest that are the same, from 0 to 1.
        a: Its nearest text in the first model.
        b: Its nearest text in the second model.
    """

    text: str
    shared: float
    a: str
    b: str


@dataclass(frozen=True, eq=False)
class SpaceComparison:
    """Two models beside each other.

    Attributes:
        sides: The models, the first one first.
        texts: How many texts were compared.
        k: How many neighbours of each.
        overlap: The mean share of the k nearest texts that both models have in common, from 0 to 1.
        disagreements: The texts with the smallest shares.
        report: Both models on the judged data; None where there is none.
    """

    sides: tuple[Side, Side]
    texts: int
    k: int
    overlap: float
    disagreements: tuple[Disagreement, ...]
    report: Report | None

    @property
    def verdict(self) -> str:
        """The result in a sentence or two."""
        shared = f"They share {100 * self.overlap:.0f} % of the {self.k} nearest texts."
        if self.report is None:
            return f"{shared} Give judged data to learn which is better."
        first, second = (side.name for side in self.sides)
        gaps = _gaps(self.report.rows)
        better = {first: 0, second: 0}
        sure = {first: 0, second: 0}
        for gap, p in gaps:
            if gap != 0:
                winner = second if gap > 0 else first
                better[winner] += 1
                sure[winner] += p is not None and p < SURE
        leader = max(better, key=lambda name: (better[name], sure[name]))
        if better[first] == better[second] and sure[first] == sure[second]:
            return f"Neither is better over the {len(gaps)} sets. {shared}"
        surely = f", {sure[leader]} surely" if sure[leader] else ""
        return f"{leader} is better on {better[leader]} of {len(gaps)} sets{surely}. {shared}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "models": [vars(side) for side in self.sides],
            "texts": self.texts,
            "k": self.k,
            "overlap": self.overlap,
            "disagreements": [vars(one) for one in self.disagreements],
            "report": None if self.report is None else self.report.to_dict(),
            "verdict": self.verdict,
        }

    def __str__(self) -> str:
        rows = [
            [
                side.name,
                f"{side.dim:,}",
                "–" if side.megabytes is None else f"{side.megabytes:,.1f}",
                f"{side.texts_per_second:,.0f}",
            ]
            for side in self.sides
        ]
        parts = [table.plain(["model", "dimensions", "MB", "texts/s"], rows)]
        parts += [] if self.report is None else [str(self.report)]
        if self.disagreements:
            lines = ["They disagree most on:"]
            for one in self.disagreements:
                lines.append(f"  {_short(one.text)}")
                lines += [
                    f"    {side.name}: {_short(text)}"
                    for side, text in zip(self.sides, (one.a, one.b), strict=True)
                ]
            parts.append("\n".join(lines))
        return "\n\n".join([*parts, self.verdict])


def compare_models(
    a: str | Path,
    b: str | Path,
    data: str | Path | Sequence[str | Path],
    *,
    k: int = 10,
    sample: int = SAMPLE,
    examples: int = 5,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = False,
) -> SpaceComparison:
    """Compare two models on the same data.

    Args:
        a: The path or name of a model: static, or a sentence transformer.
        b: The same of the other model.
        data: Files or folders: judged data as for ``statim.evaluation.evaluate``, or plain texts.
        k: How many neighbours to compare.
        sample: Compare the neighbours of at most this many different texts, drawn at random.
        examples: How many disagreements to show.
        seed: Decides the sample.
        threads: Threads to use.
        progress: Show progress bars on a terminal.

    Raises:
        InputError: k, sample or examples is out of range, or there are too few texts.
        DataError: A path cannot be read.
        ModelError: A model cannot be loaded.
    """
    for name, value, least in (("k", k, 1), ("sample", sample, 2), ("examples", examples, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InputError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    paths = [Path(data)] if isinstance(data, (str, Path)) else [Path(path) for path in data]
    names = (str(a), str(b))
    if names[0] == names[1]:
        raise InputError(f"both models are {names[0]}; name two different ones")
    encoders = [load_encoder(name) for name in names]
    judged, texts = read_any(paths)
    chosen = drawn(texts, sample, seed)
    if len(chosen) <= k:
        raise InputError(f"there are {len(chosen)} different texts; comparing {k} neighbours needs {k + 1}")
    sides, near = [], []
    for name, encoder in zip(names, encoders, strict=True):
        vectors, rate = _timed(encoder, chosen, progress)
        sides.append(Side(name, vectors.shape[1], _megabytes(encoder), rate))
        near.append(_nearest(vectors, k, threads))
    shared = np.array([len(np.intersect1d(x, y)) for x, y in zip(*near, strict=True)]) / k
    order = np.argsort(shared, kind="stable")[:examples]
    report = None
    if judged:
        report = evaluate(names[0], judged, against=names[1], progress=progress, threads=threads)
    return SpaceComparison(
        sides=(sides[0], sides[1]),
        texts=len(chosen),
        k=k,
        overlap=float(shared.mean()),
        disagreements=tuple(
            Disagreement(chosen[i], float(shared[i]), chosen[near[0][i, 0]], chosen[near[1][i, 0]])
            for i in order.tolist()
        ),
        report=report,
    )


def _timed(encoder: Encoder, texts: list[str], progress: bool) -> tuple[Floats, float]:
    """Vectors of length 1, and texts per second."""
    encoder.encode(texts[: min(len(texts), 300)])  # compiled code is loaded
    start = time.perf_counter()
    vectors = np.asarray(encoder.encode(texts, progress=progress), np.float32)
    rate = len(texts) / max(time.perf_counter() - start, 1e-9)
    return unit(vectors)[0], rate


def _nearest(vectors: Floats, k: int, threads: int | None) -> npt.NDArray[np.int64]:
    """The k nearest others of each vector, (n, k)."""
    _, positions = top_k(vectors, vectors, k + 1, threads=threads)
    others = np.empty((len(vectors), k), np.int64)
    for i, row in enumerate(positions):
        others[i] = row[row != i][:k]
    return others


def _megabytes(encoder: Encoder) -> float | None:
    return encoder.nbytes / 1e6 if isinstance(encoder, StaticModel) else None


def _gaps(rows: Sequence[Row]) -> list[tuple[float, float | None]]:
    """By how much the second model is better on each set, in its first metric, and p where it is known."""
    by_set: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        by_set.setdefault((row.task, row.set), []).append(row)
    found = []
    for first, second in by_set.values():
        metric = next(iter(first.metrics))
        p = None if second.difference is None else second.difference.p
        found.append((second.metrics[metric] - first.metrics[metric], p))
    return found


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
