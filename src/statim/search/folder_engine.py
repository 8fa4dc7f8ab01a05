"""The engine that a folder's vectors are in: the one place where engines have names."""

from pathlib import Path

from statim.errors import InputError, ModelError
from statim.search.engine import Engine, Floats, Positions
from statim.search.exact import Exact

NAMES = ("exact",)


def check(name: str, place: object) -> None:
    """Refuse an index of an engine that there is not.

    Raises:
        ModelError: There is none of this name.
    """
    if name not in NAMES:
        raise ModelError(f"{place} was made with the engine {name!r}, which this statim does not have")


def make(name: str, dim: int) -> Engine:
    """An empty engine for vectors of ``dim`` dimensions.

    Raises:
        InputError: There is none of this name.
    """
    if name not in NAMES:
        raise InputError(f"engine is {name!r}; it must be one of {', '.join(NAMES)}")
    return Exact(dim)


def load(name: str, folder: Path, place: object) -> Engine:
    """The engine that ``save`` wrote.

    Raises:
        ModelError: There is none of this name, or its files are damaged.
    """
    check(name, place)
    return Exact.load(folder)


def vectors(engine: Engine) -> Floats | None:
    """All vectors, (n, d), of an engine that still has them as they were given."""
    return engine.vectors if isinstance(engine, Exact) else None


def delete(engine: Engine, positions: Positions) -> None:
    """Let an engine forget vectors, if it can; what it finds of them is left out anyway."""
    if len(positions) and hasattr(engine, "delete"):
        engine.delete(positions)
