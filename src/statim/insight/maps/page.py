"""A map as one HTML page that needs no network: deck.gl draws it with WebGL.

deck.gl comes from the package pydeck, as it is installed. All that is made of texts is one block of JSON,
compressed and in base64, so nothing in a text can be taken for HTML; and the page may fetch nothing.
"""

import base64
import gzip
import html
import re
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import pyarrow.compute as pc

from statim.insight.maps.columns import GREY, PALETTE, RAMP, columns
from statim.insight.maps.map import Map, Space
from statim.strict_json import dumps

SIDE = 100_000  # units from one edge of a map to the other
LETTERS, FEWEST = 240, 60  # of a text that a page shows, at most and at least
ALL_LETTERS = 24_000_000  # of all texts, about
BUNDLE = ("nbextension", "static", "index.js")


def page(found: Map) -> str:
    """The page.

    Args:
        found: A map.

    Returns:
        HTML.
    """
    shown = columns(found)
    letters = min(LETTERS, max(FEWEST, ALL_LETTERS // max(1, len(found))))
    data = {
        "texts": pc.utf8_slice_codeunits(found.texts, 0, letters).to_pylist(),
        "columns": [
            {"name": one.name, "names": one.names, "values": one.values, "colorable": one.colorable}
            for one in shown
        ],
        "color": next((i for i, one in enumerate(shown) if one.name == found.color), 0),
        "spaces": [_space(space) for space in found.spaces],
        "palette": PALETTE, "ramp": RAMP, "grey": GREY,
    }  # fmt: skip
    packed = gzip.compress(dumps(data).encode("utf-8", "backslashreplace"), 6, mtime=0)
    made = {
        "TITLE": html.escape("Map of " + " and ".join(space.name for space in found.spaces)),
        "STYLE": _part("map.css"),
        "LIBRARY": _library(),
        "DATA": base64.b64encode(packed).decode(),
        "SCRIPT": _part("pane.js") + _part("map.js"),
    }
    before, *parts = _part("index.html").split("{{")
    for part in parts:
        name, _, after = part.partition("}}")
        before += made[name] + after
    return before


def _space(space: Space) -> dict[str, Any]:
    """A space in whole units, y downwards as on a screen."""
    points = np.rint((space.xy * (1, -1) + 1) * (SIDE / 2)).astype(np.int64)
    labels = [
        [one.scale, round((one.x + 1) * SIDE / 2), round((1 - one.y) * SIDE / 2), one.size, one.words]
        for one in space.labels
    ]
    return {"name": space.name, "x": points[:, 0].tolist(), "y": points[:, 1].tolist(), "labels": labels}


def _part(name: str) -> str:
    return resources.files("statim.insight.maps").joinpath("page", name).read_text(encoding="utf-8")


@cache
def _library() -> str:
    """deck.gl's own script, which sets ``deck``; without the address of its source map."""
    script = resources.files("pydeck").joinpath(*BUNDLE).read_text(encoding="utf-8")
    return re.sub(r"//# sourceMappingURL=\S*\s*$", "", script).replace("</script", "<\\/script")
