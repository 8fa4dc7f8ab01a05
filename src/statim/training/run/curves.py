"""A picture of a run: loss and held-out NDCG@10 over steps, as one HTML file that needs nothing else.

Colours are those of Okabe and Ito (2008), which the colour-blind tell apart; lines differ in their dashes
too.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from statim.evaluation.comparison import BM25
from statim.training.result import TrainingResult

WIDTH, HEIGHT = 760, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 14, 44  # margins
MOST = 600  # points of a line; more are averaged
SHARE = 20  # a running mean looks back over this part of the steps

_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --text: #222; --faint: #666; --grid: #ddd;
  --loss: #0072b2; --score: #d55e00; --bm25: #00795a; --teacher: #a8457f; }
@media (prefers-color-scheme: dark) { :root {
  --ground: #16181c; --text: #e6e6e6; --faint: #a5a5a5; --grid: #34383f;
  --loss: #56b4e9; --score: #e69f00; --bm25: #2bc29a; --teacher: #e59bc5; } }
body { background: var(--ground); color: var(--text); font: 15px/1.5 system-ui, sans-serif; max-width: 800px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .3rem; }
svg { width: 100%; height: auto; } svg text { fill: var(--faint); font-size: 12px; }
.grid { stroke: var(--grid); } .legend { color: var(--faint); }
.legend span { margin-right: 1.2rem; white-space: nowrap; }
.legend svg { width: 2rem; height: .7rem; } path, line { fill: none; }
"""


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: In the legend.
        colour: A name in the style sheet.
        points: (x, y), x ascending.
        dashes: SVG's stroke-dasharray.
        opacity: Of the stroke.
        marks: What the points' tooltips say; none are marked where this is empty.
        ring: The point that gets a ring around it.
    """

    name: str
    colour: str
    points: Sequence[tuple[float, float]]
    dashes: str = "none"
    opacity: float = 1.0
    marks: Sequence[str] = field(default=())
    ring: int | None = None

    @property
    def stroke(self) -> str:
        """How it is drawn, as attributes of SVG."""
        return (
            f'stroke="var(--{self.colour})" stroke-width="2" stroke-dasharray="{self.dashes}" '
            f'stroke-opacity="{self.opacity}" stroke-linejoin="round"'
        )


def page(result: TrainingResult) -> str:
    """The whole page, HTML."""
    taken = len(result.losses)
    unit = "texts" if result.recipe.loss == "classes" else "pairs"
    facts = [
        (
            f"{result.pairs['train']:,} {unit}, from {result.start}; {taken:,} steps of "
            f"{result.recipe.batch:,} {unit}"
        )
    ]
    facts += [text[0].upper() + text[1:] for text in [result.choice()] if text]
    body = [f"<h1>Training of a static model</h1><p>{html.escape('. '.join(facts))}.</p>"]
    if taken:
        body.append(_chart("Loss", "loss, summed over the Matryoshka dimensions", _losses(result), taken))
    if result.development:
        title = f"NDCG@10 on {result.pairs['development']:,} pairs held out for development"
        body.append(_chart(title, "NDCG@10", _scores(result, taken), taken))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Training of a static model</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{chr(10).join(body)}\n</body></html>\n"
    )


def _losses(result: TrainingResult) -> list[Line]:
    """The loss of each step, and its running mean."""
    losses = result.losses
    steps = np.arange(1, len(losses) + 1)
    window = max(1, len(losses) // SHARE)
    sums = np.concatenate([[0.0], np.cumsum(losses)])
    first = np.maximum(steps - window, 0)
    means = (sums[steps] - sums[first]) / (steps - first)
    every = math.ceil(len(losses) / MOST)
    edges = np.arange(0, len(losses), every)
    counts = np.diff(np.append(edges, len(losses)))
    thinned = np.add.reduceat(losses, edges) / counts
    middles = edges + (counts + 1) / 2
    name = "each step" if every == 1 else f"mean of every {every} steps"
    lines = [Line(name, "loss", list(zip(middles, thinned, strict=True)), opacity=0.35)]
    if window > 1:
        chosen = np.append(np.arange(0, len(losses) - 1, every), len(losses) - 1)
        points = list(zip(steps[chosen], means[chosen], strict=True))
        lines.append(Line(f"mean of the last {window:,} steps", "loss", points))
    return lines


def _scores(result: TrainingResult, last: int) -> list[Line]:
    """The evaluations, and those it is compared with as level lines."""
    marks = [f"step {step:,}: NDCG@10 {score:.4f}" for step, score in result.development]
    kept = next((i for i, (step, _) in enumerate(result.development) if step == result.kept), None)
    name = "this model" + (" (ringed: the table that was kept)" if kept is not None else "")
    lines = [Line(name, "score", result.development, marks=marks, ring=kept)]
    for other, dashes in ((BM25, "7 4"), ("teacher", "2 3")):
        if other in result.references:
            score = result.references[other]
            label = f"{'BM25' if other == BM25 else 'the teacher'}, {score:.3f}"
            lines.append(Line(label, other, [(0, score), (last, score)], dashes))
    return lines


def _chart(title: str, label: str, lines: Sequence[Line], last: int) -> str:
    """A heading, a legend and a chart whose x axis has the steps from 0 to ``last``."""
    values = [y for line in lines for _, y in line.points]
    ticks = _ticks(min(values), max(values))
    low, high = min(ticks[0], *values), max(ticks[-1], *values)
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return round(LEFT + x / last * wide, 1), round(TOP + (high - y) / (high - low) * tall, 1)

    drawn = []
    for tick in ticks:
        _, y = place(0, tick)
        drawn.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{tick:g}</text>')
    for tick in _ticks(0, last):
        if tick <= last and tick == int(tick):
            x, _ = place(tick, low)
            drawn.append(
                f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{int(tick):,}</text>'
            )
    drawn.append(f'<text x="{LEFT + wide / 2}" y="{HEIGHT - 6}" text-anchor="middle">step</text>')
    middle = TOP + tall / 2
    drawn.append(
        f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">{label}</text>'
    )
    for line in lines:
        places = [place(*point) for point in line.points]
        drawn.append(f'<path d="M{" L".join(f"{x} {y}" for x, y in places)}" {line.stroke}/>')
        for number, ((x, y), mark) in enumerate(zip(places, line.marks, strict=False)):
            ring = f'stroke="var(--{line.colour})" stroke-width="8" stroke-opacity="0.3"'
            drawn.append(
                f'<circle cx="{x}" cy="{y}" r="4" fill="var(--{line.colour})" '
                f"{ring if number == line.ring else ''}>"
                f"<title>{html.escape(mark)}</title></circle>"
            )
    legend = "".join(
        (
            f'<span><svg viewBox="0 0 32 10"><line x1="0" x2="32" y1="5" y2="5" {line.stroke}/></svg> '
            f"{html.escape(line.name)}</span>"
        )
        for line in lines
    )
    return (
        f'<h2>{html.escape(title)}</h2>\n<div class="legend">{legend}</div>\n'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(title)}">\n{chr(10).join(drawn)}\n</svg>'
    )


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers around [low, high], at least two."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, final = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, final + 1)]
