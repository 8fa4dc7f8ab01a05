"""What compressed buffers of an Arrow IPC file say they unfold to, before Arrow takes the memory for them.

Arrow's own reader believes each buffer. Its messages are flatbuffers: tables whose fields are found by a
vtable of offsets (https://arrow.apache.org/docs/format/Columnar.html). What cannot be read here is damaged.
"""

import os
import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

import pyarrow as pa

MAGIC, CONTINUES = b"ARROW1", 0xFFFFFFFF
DICTIONARY, RECORDS = 2, 3  # kinds of messages
BLOCK = struct.Struct("<qi4xq")  # of a footer: offset, length of the metadata, length of the body


class Table(NamedTuple):
    """A table of a flatbuffer.

    Attributes:
        data: The flatbuffer.
        place: Where in it the table begins.
    """

    data: bytes
    place: int

    @staticmethod
    def root(data: bytes) -> "Table":
        """The table that a flatbuffer begins with."""
        return Table(data, _number(data, "<I", 0))

    def field(self, index: int) -> int:
        """Where a field is; 0 where it is missing."""
        vtable = self.place - _number(self.data, "<i", self.place)
        if 4 + 2 * index >= _number(self.data, "<H", vtable):
            return 0
        offset = _number(self.data, "<H", vtable + 4 + 2 * index)
        return self.place + offset if offset else 0

    def number(self, index: int, kind: str) -> int:
        """A field's number; 0 where it is missing."""
        place = self.field(index)
        return _number(self.data, kind, place) if place else 0

    def table(self, index: int) -> "Table":
        """The table that a field refers to."""
        place = self.field(index)
        return Table(self.data, place + _number(self.data, "<I", place))

    def structs(self, index: int, kind: struct.Struct) -> list[tuple[int, ...]]:
        """A field's vector of structs; empty where it is missing."""
        place = self.field(index)
        if not place:
            return []
        start = place + _number(self.data, "<I", place)
        size = _number(self.data, "<I", start) * kind.size
        if start + 4 + size > len(self.data):
            raise pa.ArrowInvalid("a vector goes over the end of its message")
        return list(kind.iter_unpack(self.data[start + 4 : start + 4 + size]))


def largest(file: IO[bytes]) -> int:
    """The most bytes that one message of an IPC file or stream unfolds to.

    Raises:
        ArrowInvalid: It is damaged.
    """
    return max((_unfolded(file, *message) for message in _messages(file)), default=0)


def _number(data: bytes, kind: str, place: int) -> int:
    try:
        return int(struct.unpack_from(kind, data, place)[0]) if place >= 0 else _damaged()
    except struct.error:
        return _damaged()


def _damaged() -> int:
    raise pa.ArrowInvalid("a message is damaged or cut off")


def _messages(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """The metadata of each message, and where its body begins."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC:
        yield from _of_stream(file)
        return
    file.seek(max(0, size - len(MAGIC) - 4))
    length = _number(file.read(4), "<i", 0)
    start = size - len(MAGIC) - 4 - length
    if length < 0 or start < 0:
        _damaged()
    file.seek(start)
    footer = Table.root(file.read(length))
    for index in (2, 3):  # dictionaries and record batches
        for offset, meta, _ in footer.structs(index, BLOCK):
            if min(offset, meta) < 0 or offset + meta > size:
                _damaged()
            file.seek(offset)
            found = _metadata(file)
            if found:
                yield found, offset + meta


def _of_stream(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    place = 0
    while True:
        file.seek(place)
        found = _metadata(file)
        if not found:
            return
        body = file.tell()
        yield found, body
        length = Table.root(found).number(3, "<q")
        place = body + length if length >= 0 else _damaged()


def _metadata(file: IO[bytes]) -> bytes:
    """The metadata of the message that begins here; empty at the end of a stream."""
    head = file.read(4)
    if len(head) < 4:
        return b""
    length = _number(head, "<I", 0)
    if length == CONTINUES:
        length = _number(file.read(4), "<I", 0)
    return file.read(length)


def _unfolded(file: IO[bytes], metadata: bytes, body: int) -> int:
    message = Table.root(metadata)
    kind = message.number(1, "<B")
    if kind not in (DICTIONARY, RECORDS):
        return 0
    records = message.table(2) if kind == RECORDS else message.table(2).table(1)
    if not records.field(3):  # nothing is compressed
        return 0
    total = 0
    for offset, length in records.structs(2, struct.Struct("<qq")):
        if length >= 8 and offset >= 0:
            file.seek(body + offset)
            total += max(0, _number(file.read(8), "<q", 0))
    return total
