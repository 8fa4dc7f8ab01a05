"""A chart of lines of marked points, over a logarithmic axis, as one SVG file that needs nothing else."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from statim.training.run.curves import HEIGHT, WIDTH

# of Okabe and Ito (2008), which the colour-blind tell apart; dashes tell lines apart too
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#a8457f", "#e69f00", "#56b4e9", "#777777")
LEFT, RIGHT, TOP, BOTTOM = 64, 110, 34, 48  # margins; names of lines stand in the right one
STEP = 20  # from name to name

Ticks = Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: In the legend.
        colour: As SVG writes it.
        dashes: SVG's stroke-dasharray.
        points: (x, y, what the tooltip says), x above 0.
        ring: Which of the points gets a ring around it, if any.
    """

    name: str
    colour: str
    dashes: str
    points: Sequence[tuple[float, float, str]]
    ring: int | None = None


def chart(
    label: str, title: str, x_name: str, x_ticks: Ticks, y_ticks: Ticks, lines: Sequence[Line],
    right: int = RIGHT
) -> str:  # fmt: skip
    """The chart as SVG.

    Args:
        label: What a screen reader says.
        title: Above the chart.
        x_name: Below the axis.
        x_ticks: Values with their texts, ascending; the axis has at least those and all points.
        y_ticks: Likewise, but the axis has those alone.
        lines: In the order of the legend.
        right: The margin for their names.
    """
    xs = [x for line in lines for x, *_ in line.points] + [x for x, _ in x_ticks]
    first, last, low, high = log(min(xs)), log(max(xs)), y_ticks[0][0], y_ticks[-1][0]

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (log(x) - first) / (last - first) * (WIDTH - LEFT - right)
        return round(across, 1), round(TOP + (high - y) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    drawn = [f'<text x="{LEFT}" y="18" font-size="14">{html.escape(title)}</text>']
    for value, text in y_ticks:
        _, y = place(min(xs), value)
        drawn.append(f'<line x1="{LEFT}" x2="{WIDTH - right}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{text}</text>')
    for value, text in x_ticks:
        x, _ = place(value, low)
        drawn.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{text}</text>')
    middle = (LEFT + WIDTH - right) / 2
    drawn.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{html.escape(x_name)}</text>')
    for line in lines:
        places = [place(x, y) for x, y, _ in line.points]
        path = " L".join(f"{x} {y}" for x, y in places)
        drawn.append(f'<path d="M{path}" fill="none" {_stroke(line)}/>')
        for number, ((x, y), (*_, told)) in enumerate(zip(places, line.points, strict=True)):
            mark = (
                f'<circle cx="{x}" cy="{y}" r="4" '
                f'fill="{line.colour}"><title>{html.escape(told)}</title></circle>'
            )
            drawn.append(mark)
            if number == line.ring:
                drawn.append(f'<circle cx="{x}" cy="{y}" r="7" fill="none" stroke="{line.colour}"/>')
    step = min(STEP, (HEIGHT - TOP) / len(lines))
    for number, line in enumerate(lines):
        x, y = WIDTH - right + 14, TOP + round(step * number, 1) + 10
        drawn.append(f'<line x1="{x}" x2="{x + 28}" y1="{y}" y2="{y}" {_stroke(line)}/>')
        drawn.append(f'<text x="{x + 34}" y="{y + 4}">{html.escape(line.name)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(label)}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#444">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n{chr(10).join(drawn)}\n</svg>\n'
    )


def _stroke(line: Line) -> str:
    return f'stroke="{line.colour}" stroke-width="2" stroke-dasharray="{line.dashes}"'
