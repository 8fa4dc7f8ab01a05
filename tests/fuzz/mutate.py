"""Damage as disks, transfers and hands do it: bits flipped, bytes cut off, spliced or repeated, numbers
replaced by extreme ones.
"""

import json
import random
import re
import struct

NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
EXTREMES = [
    b"-1", b"0", b"1", b"2", b"127", b"255", b"256", b"65535", b"65536", b"2147483647", b"2147483648",
    b"-2147483649",
    b"4294967295", b"9223372036854775807", b"9223372036854775808", b"18446744073709551616", b"1e308",
    b"1e999", b"-0.0", b"0.5",
    b"NaN", b"Infinity", b"null", b"true", b'"7"', b"[]", b"{}", b"9" * 400,
]  # fmt: skip
TOKENS = [
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\n", b"\r", b"\r\n", b"\t", b" ", b'"', b"'", b"\\",
    b"\\u", b"\\ud800", b",", b":",
    b";", b"|", b"[", b"]", b"{", b"}", b"(", b")", b"[" * 200, b"null", b"\x1b[2J", b"\xc3", b"\xe2\x80\xa8",
    b"../", b"%", b"=", b"'' or ''", b"a" * 300, b"\x00" * 16,
    b"\xff" * 8, b"PK\x03\x04", b"\x1f\x8b\x08", b"ARROW1", b"PAR1", b"\x93NUMPY",
]  # fmt: skip
VALUES = [
    None, True, False, 0, -1, 1, 2, 2**31, 2**63, 2**64, -(2**63) - 1, 10**300, 0.5, 1e308, float("nan"),
    float("inf"), "", "a", "\x00", "../x",
    "\ud800", "x" * 300, "7", [], [[]], [None], [1], ["a"], {}, {"a": 1}, {"": {}},
]  # fmt: skip


def damaged(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """``data`` with one to four changes; ``others`` are files from which pieces may come."""
    if data[:1] in b"{[" and chance.random() < 0.4 and (found := _by_value(data, chance)) is not None:
        return found
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
        data = chance.choice(WAYS)(data, others, chance)
    return data


def _by_value(data: bytes, chance: random.Random) -> bytes | None:
    """A JSON text with one value replaced, left out or there twice."""
    try:
        value = json.loads(data)
    except ValueError:
        return None
    places = [(value, key) for value in _containers(value) for key in _keys(value)]
    if not places:
        return None
    container, key = chance.choice(places)
    if chance.random() < 0.2:
        del container[key]
    elif chance.random() < 0.2 and isinstance(container, list):
        container.append(container[key])
    else:
        container[key] = chance.choice(VALUES)
    return json.dumps(value).encode()


def _keys(value: object) -> list:
    return list(value) if isinstance(value, dict) else list(range(len(value)))


def _containers(value: object) -> list:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [
        *([value] if isinstance(value, (dict, list)) else ()),
        *(c for v in inner for c in _containers(v)),
    ]


def _place(data: bytes, chance: random.Random) -> int:
    """Somewhere; often at the beginning or the end, where headers and footers are."""
    size, near = len(data), chance.random()
    if near < 0.3:
        return chance.randrange(min(size, 64) + 1)
    return size - chance.randrange(min(size, 64) + 1) if near < 0.5 else chance.randrange(size + 1)


def _bit(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    at = min(_place(data, chance), len(data) - 1)
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :] if data else data


def _byte(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]


def _cut(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    return data[: _place(data, chance)]


def _drop(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + data[at + chance.choice((1, 2, 4, 8, 16, 64)) :]


def _repeat(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    at, size = _place(data, chance), chance.choice((1, 4, 16, 64, 256))
    return data[:at] + data[at : at + size] * chance.choice((2, 2, 3, 20)) + data[at + size :]


def _insert(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + chance.choice(TOKENS) + data[at + chance.choice((0, 0, 1)) :]


def _splice(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    other = chance.choice([data, *others])
    start = _place(other, chance)
    at, size = _place(data, chance), chance.choice((4, 16, 64, 1 << 20))
    return data[:at] + other[start : start + size] + data[at + chance.choice((0, size)) :]


def _number(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    found = list(NUMBER.finditer(data[: 1 << 14]))
    if not found:
        return _word(data, others, chance)
    one = chance.choice(found)
    return data[: one.start()] + chance.choice(EXTREMES) + data[one.end() :]


def _word(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """A number of 8 to 64 bits, aligned, as binary headers have it."""
    size = chance.choice((1, 2, 4, 8))
    at = _place(data, chance) // size * size
    value = chance.choice(
        (0, 1, -1, (1 << 8 * size - 1) - 1, -1 << 8 * size - 1, len(data) % 128, 1 << 8 * size - 2)
    )
    packed = struct.pack("<q", value)[:size]
    return data[:at] + packed + data[at + size :]


WAYS = (
    _bit,
    _bit,
    _byte,
    _byte,
    _cut,
    _drop,
    _repeat,
    _insert,
    _insert,
    _splice,
    _number,
    _number,
    _word,
    _word,
)
