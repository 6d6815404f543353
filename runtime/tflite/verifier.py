"""Verifies a FlatBuffer from an unknown source as a whole, before anything reads it.

`verify_flatbuffer` follows every offset that a schema knows and checks that its target lies inside; `reader.Table` then
reads without further checks. Nothing recurses. Data that several offsets share is charged to a budget each time, as
each reader pays for it each time, so both take time linear in the size. Source of the format: "FlatBuffer Internals"
in FlatBuffers' documentation.

Our own, because no library does it: the package `flatbuffers` has no verifier for Python, and TensorFlow Lite's own is
not in the interpreters' wheels.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

MAX_TABLES = 100_000
#: Bytes that may be visited: a multiple of the size, and some more. Real models stay below twice the size.
_BUDGET_FACTOR, _BUDGET_BYTES = 8, 2**16
_ROOT_BYTES = 8  # the root's offset and the identifier

_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")


class FlatBufferError(ValueError):
    """Something in a FlatBuffer points outside it, or does not fit its schema."""


class Schema(NamedTuple):
    """The schema of a kind of FlatBuffer.

    Attributes:
        identifier: the four bytes at position 4.
        root: the name of the root table.
        tables: the fields of each table, one a slot, separated by blanks: `4` a scalar of four bytes (`0`: never
            read), `s` a string, `tName` a table, `uName` a union, whose type is the slot before; `v` before any of
            these makes it a vector. A table that is not listed has no fields.
        unions: the tables of each union, separated by blanks; the first stands for none.
    """

    identifier: bytes
    root: str
    tables: Mapping[str, str]
    unions: Mapping[str, str]


def verify_flatbuffer(content: bytes, schema: Schema) -> int:
    """Check that everything in the schema lies inside `content` and is aligned.

    Returns:
        the end of the last object; what follows is padding, or no part of the FlatBuffer.

    Raises:
        FlatBufferError: an object is outside, misaligned or of a wrong type; it names the first one.
    """
    if len(content) < _ROOT_BYTES or content[4:8] != schema.identifier:
        raise FlatBufferError(f"it does not begin as a FlatBuffer of kind {schema.identifier.decode()}")
    verifier = _Verifier(content, schema)
    verifier.run()
    return verifier.end


class _Verifier:
    def __init__(self, content: bytes, schema: Schema) -> None:
        self.content = content
        self.end = _ROOT_BYTES
        self._schema = schema
        self._fields: dict[str, list[str]] = {}
        self._unions = {name: members.split() for name, members in schema.unions.items()}
        self._budget = _BUDGET_FACTOR * len(content) + _BUDGET_BYTES
        self._tables = 0
        #: The tables and vectors of offsets still to visit, as (position, `tName` or `v...`).
        self._todo: list[tuple[int, str]] = []

    def run(self) -> None:
        self._todo.append((_U32.unpack_from(self.content)[0], f"t{self._schema.root}"))
        while self._todo:
            position, kind = self._todo.pop()
            if kind[0] == "t":
                self._table(position, kind[1:])
            else:
                self._vector_of_offsets(position, kind[1:])

    def _inside(self, position: int, size: int, alignment: int, what: str) -> None:
        end = position + size
        if position < 0 or end > len(self.content):
            raise FlatBufferError(f"{what} at byte {position} ends outside its {len(self.content)} bytes")
        if position % alignment:
            raise FlatBufferError(f"{what} at byte {position} is not aligned to {alignment}")
        if end > self.end:
            self.end = end
        self._budget -= size
        if self._budget < 0:
            raise FlatBufferError("its parts point to the same places too often")

    def _table(self, position: int, name: str) -> None:
        self._tables += 1
        if self._tables > MAX_TABLES:
            raise FlatBufferError(f"it has more than {MAX_TABLES:,} tables")
        self._inside(position, 4, 4, f"a table {name}")
        vtable = position - _I32.unpack_from(self.content, position)[0]
        self._inside(vtable, 4, 2, f"the vtable of {name}")
        vtable_size, table_size = struct.unpack_from("<HH", self.content, vtable)
        if vtable_size < 4 or vtable_size % 2 or table_size < 4:
            raise FlatBufferError(f"the vtable of {name} at byte {vtable} has impossible sizes")
        self._inside(vtable, vtable_size, 2, f"the vtable of {name}")
        self._inside(position, table_size, 4, f"a table {name}")
        kinds = self._kinds(name)
        slots = min(len(kinds), vtable_size // 2 - 2)
        offsets = struct.unpack_from(f"<{slots}H", self.content, vtable + 4)
        for slot, offset in enumerate(offsets):
            kind = kinds[slot]
            if offset == 0 or kind == "0":
                continue
            size = int(kind) if kind.isdigit() else 4
            if offset < 4 or offset + size > table_size:
                raise FlatBufferError(f"field {slot} of {name} at byte {position} lies outside its table")
            if (position + offset) % size:
                raise FlatBufferError(f"field {slot} of {name} at byte {position} is not aligned to {size}")
            if not kind.isdigit():
                self._field(position, offset, kind, offsets[slot - 1] if slot else 0)

    def _kinds(self, name: str) -> list[str]:
        kinds = self._fields.get(name)
        if kinds is None:
            kinds = self._fields[name] = self._schema.tables.get(name, "").split()
        return kinds

    def _field(self, table: int, offset: int, kind: str, type_offset: int) -> None:
        """Check a field that holds an offset."""
        if kind[0] == "u":
            members = self._unions[kind[1:]]
            number = self.content[table + type_offset] if type_offset else 0
            if number == 0:  # none, which no reader follows
                return
            if number >= len(members):
                raise FlatBufferError(
                    f"a union {kind[1:]} at byte {table + offset} has type {number}, later than this Pocketlens knows"
                )
            kind = f"t{members[number]}"
        self._follow(table + offset, kind)

    def _follow(self, place: int, kind: str) -> None:
        target = place + _U32.unpack_from(self.content, place)[0]
        if target == place:
            raise FlatBufferError(f"an offset at byte {place} points to itself")
        if kind == "s":
            self._vector(target, 1, "a string", 1)
        elif kind[0] == "v" and kind[1].isdigit():
            self._vector(target, int(kind[1]), "a vector")
        else:
            self._todo.append((target, kind))

    def _vector(self, position: int, size: int, what: str, extra: int = 0) -> int:
        """Check a vector and return its length; `extra` bytes must follow, for strings a zero."""
        self._inside(position, 4, 4, what)
        count: int = _U32.unpack_from(self.content, position)[0]
        self._inside(position, 4 + count * size + extra, 4, what)
        if count and (position + 4) % size:
            raise FlatBufferError(f"{what} at byte {position} is not aligned to {size}")
        if extra and self.content[position + 4 + count]:
            raise FlatBufferError(f"{what} at byte {position} has no end")
        return count

    def _vector_of_offsets(self, position: int, kind: str) -> None:
        for index in range(self._vector(position, 4, "a vector")):
            self._follow(position + 4 + 4 * index, kind)
