"""statim check: whether what is stored is as it was written."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from statim.cli import options

if TYPE_CHECKING:
    from statim.checking import Checked


def check(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Folders of models, indexes, heads, checkpoints, or trainings (OUT.training).",
        ),
    ],
    json: options.Json = False,
) -> None:
    """Compare stored files with their digests, byte by byte; exit code 2 if one is damaged."""
    from statim import checking

    found = [place for path in paths for place in checking.check(path)]
    options.result([asdict(place) for place in found], "\n".join(map(_line, found)), json)


def _line(place: "Checked") -> str:
    speed = f"{place.bytes / max(place.seconds, 1e-9) / 1e9:.1f} GB/s"
    line = f"{place.path}: {place.kind}, {place.files:,} files, {options.size(place.bytes)}, {speed}: whole"
    if place.undigested or not place.files:
        line += f"; {place.undigested or 'its'} files have no digest, so only what can be read was checked"
    return line
