"""JSON that every reader takes: one line, without the NaN and Infinity that Python writes and JSON does not have."""

import functools
import json
import math
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
