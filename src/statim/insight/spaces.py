"""Two models on the same texts: how far their neighbours agree, where they disagree, and which is better."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from statim.errors import InputError
from statim.evaluation import Report, Row, evaluate, table
from statim.evaluation.encoders import Encoder, QueriesOnly, load_encoder
from statim.insight.any_texts import read_any, sample_texts
from statim.model import StaticModel
from statim.models import is_bundled
from statim.search.engines.exact_top_k import top_k
from statim.search.engines.matrices import unit

SAMPLE = 5000
SHOWN = 70  # characters of a text in an example
SIGNIFICANT = 0.05  # the two-sided p below which a difference counts as significant
WARM_UP = 300  # texts that are encoded before the clock starts: compiled code is loaded

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Side:
    """One of the two models.

    Attributes:
        name: Its path or name.
        dim: Dimensions.
        megabytes: Of its table; None for a transformer.
        texts_per_second: Encoding the texts, the first 300 (or half of fewer than 600) left out.
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
        a: Its nearest text in the first model; empty where that has no token of the text.
        b: Its nearest text in the second model, likewise.
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
        unreadable: How many more were left out since neither model has a token of them.
        k: How many neighbours of each.
        overlap: The mean share of the k nearest texts that both models have in common, from 0 to 1.
        disagreements: The texts with the smallest shares.
        report: Both models on the judged data; None where there is none.
    """

    sides: tuple[Side, Side]
    texts: int
    unreadable: int
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
        significant = {first: 0, second: 0}
        for gap, p in gaps:
            if gap != 0:
                winner = second if gap > 0 else first
                better[winner] += 1
                significant[winner] += p is not None and p < SIGNIFICANT
        leader = max(better, key=better.__getitem__)
        if better[first] == better[second]:
            return f"Neither is better over the {len(gaps)} sets. {shared}"
        significantly = f", {significant[leader]} significantly" if significant[leader] else ""
        return f"{leader} is better on {better[leader]} of {len(gaps)} sets{significantly}. {shared}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "models": [vars(side) for side in self.sides],
            "texts": self.texts,
            "unreadable": self.unreadable,
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
                    f"    {side.name}: {_short(text) or '–'}"
                    for side, text in zip(self.sides, (one.a, one.b), strict=True)
                ]
            parts.append("\n".join(lines))
        if self.unreadable:
            parts.append(f"Texts that neither model has a token of: {self.unreadable:,}.")
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
        a: The path or name of a model: static, or a sentence transformer. As everywhere, only the str
            ``"english"`` is the bundled model, and a ``Path`` is a folder.
        b: The same of the other model.
        data: Files or folders: judged data as for ``statim.evaluation.evaluate``, or plain texts.
        k: How many neighbours to compare.
        sample: Compare the neighbours of at most this many different texts, sampled at random.
        examples: How many disagreements to show.
        seed: Seed of the sample.
        threads: Threads to use.
        progress: Show progress bars on a terminal.

    Raises:
        InputError: k, sample, examples or seed is out of range, both models are the same, or there are too
            few texts.
        DataError: A path cannot be read.
        ModelError: A model cannot be loaded.
    """
    for name, value, least in (
        ("k", k, 1),
        ("sample", sample, 2),
        ("examples", examples, 0),
        ("seed", seed, 0),
    ):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InputError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    names = [_name(a), _name(b)]
    if names[0] == names[1]:
        raise InputError(f"both models are {names[0]}; name two different ones")
    encoders = [_encoder(name) for name in names]
    judged, texts = read_any([data] if isinstance(data, (str, Path)) else data)
    sampled = sample_texts(texts, sample, seed)
    _check_enough(len(sampled), k, "different texts")
    timed = [_timed(encoder, sampled, progress, threads) for encoder in encoders]
    readable = timed[0].known | timed[1].known
    chosen = [text for text, one in zip(sampled, readable.tolist(), strict=True) if one]
    _check_enough(len(chosen), k, "texts that either model has a token of")
    near = [_nearest(side.vectors[readable], side.known[readable], k, threads) for side in timed]
    shared = np.array([len(np.intersect1d(x[x >= 0], y)) for x, y in zip(*near, strict=True)]) / k
    order = np.argsort(shared, kind="stable")[:examples]
    first, second = (
        Side(name, side.vectors.shape[1], _megabytes(encoder), side.rate)
        for name, encoder, side in zip(names, encoders, timed, strict=True)
    )
    report = None
    if judged:
        report = evaluate(names[0], judged, against=names[1], progress=progress, threads=threads)
    return SpaceComparison(
        sides=(first, second),
        texts=len(chosen),
        unreadable=len(sampled) - len(chosen),
        k=k,
        overlap=float(shared.mean()),
        disagreements=tuple(
            Disagreement(chosen[i], float(shared[i]), *("" if x[i, 0] < 0 else chosen[x[i, 0]] for x in near))
            for i in order.tolist()
        ),
        report=report,
    )


def _name(given: str | Path) -> str:
    """The name of a model, by which it can be loaded: a folder never has that of a bundled model."""
    name = str(given)
    return f"./{name}" if isinstance(given, Path) and is_bundled(name) else name


def _encoder(name: str) -> Encoder:
    """The encoder of texts that are neither queries nor documents."""
    found = load_encoder(name)
    return found.model if isinstance(found, QueriesOnly) else found


def _check_enough(count: int, k: int, what: str) -> None:
    """Refuse to compare the neighbours of too few texts.

    Raises:
        InputError: There are no more than k.
    """
    if count <= k:
        raise InputError(f"there are {count} {what}; comparing {k} neighbours needs {k + 1}")


class _Encoded(NamedTuple):
    """The vectors of texts at length 1, which of them are not zero, and texts per second."""

    vectors: Floats
    known: Flags
    rate: float


def _timed(encoder: Encoder, texts: list[str], progress: bool, threads: int | None) -> _Encoded:
    """Encode texts, the first ones before the clock starts."""

    def encode(some: list[str]) -> Floats:
        if isinstance(encoder, StaticModel):
            return np.asarray(encoder.encode(some, progress=progress, threads=threads), np.float32)
        return np.asarray(encoder.encode(some, progress=progress), np.float32)

    early = min(len(texts) // 2, WARM_UP)
    parts = [encode(texts[:early])]
    start = time.perf_counter()
    parts.append(encode(texts[early:]))
    rate = (len(texts) - early) / max(time.perf_counter() - start, 1e-9)
    vectors, zero = unit(np.concatenate(parts))
    return _Encoded(vectors, ~zero, rate)


def _nearest(vectors: Floats, known: Flags, k: int, threads: int | None) -> npt.NDArray[np.int64]:
    """The k nearest others of each vector, (n, k); -1 for those of zeros, which have none."""
    _, positions = top_k(vectors, vectors, k + 1, threads=threads)
    others = np.full((len(vectors), k), -1, np.int64)
    for i in np.flatnonzero(known):
        row = positions[i]
        others[i] = row[row != i][:k]
    return others


def _megabytes(encoder: Encoder) -> float | None:
    return encoder.nbytes / 1e6 if isinstance(encoder, StaticModel) else None


def _gaps(rows: Sequence[Row]) -> list[tuple[float, float | None]]:
    """By how much the second model is better on each set, in its first metric, and p where it is known."""
    found = []
    for first, second in zip(rows[::2], rows[1::2], strict=True):  # sets may share a name
        metric = next(iter(first.metrics))
        p = None if second.difference is None else second.difference.p
        found.append((second.metrics[metric] - first.metrics[metric], p))
    return found


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
