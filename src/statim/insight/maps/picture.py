"""A map as a picture, by matplotlib: points, the names of the coarsest clusters, and a legend."""

import io
from typing import Any

import numpy as np

from statim.insight.maps.columns import GREY, PALETTE, RAMP, Column, columns
from statim.insight.maps.map import Map, Space

INCHES, DPI = 8.0, 150  # of one space's side
ENTRY = 32  # letters of a word in the legend


def picture(found: Map, suffix: str) -> bytes:
    """The picture's file.

    Args:
        found: A map.
        suffix: ``.png``, ``.svg`` or ``.pdf``.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    shown = columns(found)
    chosen = next((one for one in shown if one.name == found.color), shown[0])
    wide = len(found.spaces)
    file = io.BytesIO()
    with rc_context({"svg.hashsalt": "statim", "svg.fonttype": "none"}):
        figure = Figure(figsize=(INCHES * wide + 2, INCHES), dpi=DPI, layout="constrained")
        axes = figure.subplots(1, wide, squeeze=False)[0]
        for space, one in zip(found.spaces, axes, strict=True):
            _draw(one, space, chosen, several=wide > 1)
        _legend(figure, axes, chosen)
        figure.draw_without_rendering()
        for one in axes:
            _hide_overlapping(one.texts)
        dated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
        figure.savefig(file, format=suffix[1:], metadata=dated.get(suffix))
    return file.getvalue()


def _draw(axes: Any, space: Space, chosen: Column, *, several: bool) -> None:
    from matplotlib.patheffects import withStroke

    size = min(24.0, max(0.6, 30_000 / len(space.xy)))
    look = {"s": size, "linewidths": 0, "alpha": 0.7, "rasterized": True}
    if chosen.names is None:
        values = np.array([np.nan if value is None else value for value in chosen.values], np.float64)
        axes.scatter(*space.xy.T, c=values, cmap=_ramp(), plotnonfinite=True, **look)
    else:
        shades = [_shade(value) for value in chosen.values]
        axes.scatter(*space.xy.T, c=shades, **look)
    around = [withStroke(linewidth=3, foreground="white")]
    for label in space.labels:
        if label.scale == 0:
            axes.text(
                label.x, label.y, _plain(label.words), ha="center", va="center", weight="bold", fontsize=9,
                path_effects=around,
            )  # fmt: skip
    axes.set_aspect("equal")
    axes.axis("off")
    if several:
        axes.set_title(_plain(space.name), fontsize=10)


def _hide_overlapping(names: Any) -> None:
    """Hide names that overlap one before them, that of a larger cluster."""
    taken: list[Any] = []
    for name in names:
        box = name.get_window_extent()
        name.set_visible(not any(box.overlaps(other) for other in taken))
        if name.get_visible():
            taken.append(box)


def _legend(figure: Any, axes: Any, chosen: Column) -> None:
    if chosen.names is None:
        figure.colorbar(axes[-1].collections[0], ax=list(axes), shrink=0.5, label=_plain(chosen.name))
        return
    from matplotlib.lines import Line2D

    names = [name if len(name) <= ENTRY else name[: ENTRY - 1] + "…" for name in chosen.names[: len(PALETTE)]]
    names += ["other"] * (len(chosen.names) > len(PALETTE))
    shades = [*PALETTE, GREY]
    entries = [
        Line2D([], [], marker="o", linestyle="", color=shade, label=_plain(name))
        for name, shade in zip(names, shades, strict=False)
    ]
    if entries:
        figure.legend(handles=entries, loc="outside right upper", frameon=False, fontsize=8)


def _shade(value: int | None) -> str:
    return PALETTE[value] if value is not None and value < len(PALETTE) else GREY


def _ramp() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("ramp", RAMP).with_extremes(bad=GREY)


def _plain(text: str) -> str:
    """A text that matplotlib takes for no formula."""
    return text.replace("$", r"\$")
