"""Writes a FlatBuffer from plain values, by the same schema that `verifier` checks one with.

Our own, because a device has neither TensorFlow's schema nor the package `flatbuffers`. Source of the format:
"FlatBuffer Internals" in FlatBuffers' documentation.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from .verifier import Schema

#: Interpreters use constants where they lie, and expect them at multiples of this.
_DATA_ALIGNMENT = 16
_INTEGERS = {1: "b", 2: "h", 4: "i", 8: "q"}


def write_flatbuffer(schema: Schema, root: Mapping[int, Any]) -> bytes:
    """A FlatBuffer with a root table.

    Args:
        schema: its schema.
        root: the fields of the root table by their slots, counted from 0; absent ones are left out. A scalar is an
            integer or a float, a string is a str, a table and a union a mapping of this kind, a vector of bytes is
            bytes, and other vectors are sequences. A union needs its type in the slot before.

    Raises:
        KeyError, IndexError, TypeError, struct.error: a value does not fit the schema.
    """
    writer = _Writer(schema)
    place = writer.table(schema.root, root)
    struct.pack_into("<I4s", writer.content, 0, place, schema.identifier)
    return bytes(writer.content)


class _Writer:
    """Writes a table first and what it points to behind it: offsets of a FlatBuffer point forwards."""

    def __init__(self, schema: Schema) -> None:
        self.content = bytearray(8)
        self._schema = schema

    def table(self, name: str, values: Mapping[int, Any]) -> int:
        """Write a table and all that belongs to it; its place."""
        kinds = self._schema.tables.get(name, "").split()
        places, size = {}, 4
        for slot in values:
            width = _width(kinds[slot])
            places[slot] = _aligned(size, width)
            size = places[slot] + width
        vtable = [places.get(slot, 0) for slot in range(max(places, default=-1) + 1)]
        self._align(2)
        begin = self._append(struct.pack(f"<{2 + len(vtable)}H", 4 + 2 * len(vtable), size, *vtable))
        self._align(8)
        table = self._append(bytes(size))
        struct.pack_into("<i", self.content, table, table - begin)
        for slot, value in values.items():
            self._field(table + places[slot], kinds[slot], value, values.get(slot - 1, 0))
        return table

    def _field(self, place: int, kind: str, value: Any, type_number: int) -> None:
        if kind.isdigit():
            struct.pack_into(_format(int(kind), (value,)), self.content, place, value)
            return
        if kind[0] == "u":
            kind = f"t{self._schema.unions[kind[1:]].split()[type_number]}"
        struct.pack_into("<I", self.content, place, self._target(kind, value) - place)

    def _target(self, kind: str, value: Any) -> int:
        if kind[0] == "t":
            return self.table(kind[1:], value)
        if kind == "s":
            text = value.encode()
            return self._vector(len(text), text + b"\0", 4)
        if kind[1:] == "1":
            return self._vector(len(value), bytes(value), _DATA_ALIGNMENT)
        if kind[1:].isdigit():
            width = int(kind[1:])
            return self._vector(len(value), struct.pack(_format(width, value), *value), width)
        place = self._vector(len(value), bytes(4 * len(value)), 4)
        for index, element in enumerate(value):
            entry = place + 4 + 4 * index
            struct.pack_into("<I", self.content, entry, self._target(kind[1:], element) - entry)
        return place

    def _vector(self, count: int, data: bytes, alignment: int) -> int:
        self._align(4)
        while (len(self.content) + 4) % alignment:
            self.content += bytes(4)
        return self._append(struct.pack("<I", count) + data)

    def _align(self, alignment: int) -> None:
        self.content += bytes(-len(self.content) % alignment)

    def _append(self, data: bytes) -> int:
        self.content += data
        return len(self.content) - len(data)


def _width(kind: str) -> int:
    return int(kind) if kind.isdigit() else 4


def _format(width: int, values: Sequence[Any]) -> str:
    letter = "f" if width == 4 and any(isinstance(value, float) for value in values) else _INTEGERS[width]
    return f"<{len(values)}{letter}"


def _aligned(place: int, alignment: int) -> int:
    return -(-place // alignment) * alignment
