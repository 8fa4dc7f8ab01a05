"""What usual runs call kernels with: the list from which code is prepared.

``signatures.json`` holds, by the kernel's module and name, the types of its arguments, in numba's words:
``float32[:, ::1]`` is a C-ordered matrix, with ``const`` before it one that is not written to, and ``=0`` an
argument that is left to its default. Kernels that are defined with signatures of their own are not in it.
"""

import json
import re
from pathlib import Path
from typing import Any

from numba import types

LIST = Path(__file__).with_suffix(".json")
_TYPE = re.compile(r"(?P<const>const )?(?P<name>\w+)(\[(?P<axes>[:, ]*)::1\])?")


def listed() -> dict[str, list[str]]:
    """The signatures of each kernel."""
    found: dict[str, list[str]] = json.loads(LIST.read_text(encoding="utf-8"))
    return found


def written(arguments: tuple[Any, ...]) -> str:
    """The types of a call's arguments as text.

    Raises:
        ValueError: A type has no such text.
    """
    return "; ".join(map(_written, arguments))


def _written(one: Any) -> str:
    if isinstance(one, types.Omitted):
        return f"={json.dumps(one.value)}"
    if isinstance(one, types.Array) and one.layout == "C" and one.aligned:
        const = "" if one.mutable else "const "
        return f"{const}{_written(one.dtype)}[{':, ' * (one.ndim - 1)}::1]"
    if isinstance(one, types.Number | types.Boolean):
        return str(one)
    raise ValueError(f"kernels of prepared code cannot be given {one}")


def read(text: str) -> tuple[Any, ...]:
    """The types that ``written`` made the text of."""
    return tuple(map(_read, filter(None, text.split("; "))))


def _read(one: str) -> Any:
    if one.startswith("="):
        return types.Omitted(json.loads(one[1:]))
    found = _TYPE.fullmatch(one)
    if found is None:
        raise ValueError(f"{one!r} is no type of {LIST.name}")
    scalar = types.boolean if found["name"] == "bool" else getattr(types, found["name"])
    if found["axes"] is None:
        return scalar
    return types.Array(scalar, found["axes"].count(",") + 1, "C", readonly=bool(found["const"]))
