"""JSON that all readers agree on: without NaN and Infinity, and without repeated names."""

import functools
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any


def dumps(value: Any, default: Callable[[Any], Any] = str) -> str:
    """A value as one line of JSON; NaN and infinities are null, dates and decimals are text.

    Args:
        value: The value.
        default: Gives something that JSON has for what it does not have.
    """
    encode = _encoder(default)
    try:
        return encode(value)
    except ValueError:
        return encode(_finite(value))


def loads(content: str | bytes) -> Any:
    """The value of a JSON text of ours; repeated names are refused, since readers differ on them.

    Raises:
        ValueError: It is not JSON, or a name stands twice in one object.
        RecursionError: It is nested too deeply.
    """
    return json.loads(content, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the name {twice[:40]!r} stands twice in one object")
    return found


@functools.cache
def _encoder(default: Callable[[Any], Any]) -> Callable[[Any], str]:
    return json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=default).encode


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return value
