"""Reads the tables of a FlatBuffer that `verifier.verify_flatbuffer` accepted."""

from __future__ import annotations

import struct
from typing import Any

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
#: No table of a schema that is read has more fields; a file may claim 32,764 for each.
_MAX_SLOTS = 20


class Table:
    """A table of a verified FlatBuffer; slots are numbered from 0, as in the schema.

    Args:
        content: the FlatBuffer.
        position: the byte at which the table begins.
    """

    __slots__ = ("_content", "_offsets", "_position")

    def __init__(self, content: bytes, position: int) -> None:
        self._content = content
        self._position = position
        vtable = position - _I32.unpack_from(content, position)[0]
        size = _U16.unpack_from(content, vtable)[0]
        self._offsets: tuple[int, ...] = struct.unpack_from(f"<{min(size // 2 - 2, _MAX_SLOTS)}H", content, vtable + 4)

    @classmethod
    def root(cls, content: bytes) -> Table:
        """The root table."""
        return cls(content, _U32.unpack_from(content)[0])

    def _place(self, slot: int) -> int:
        """The position of a field; 0 if it is absent."""
        offset = self._offsets[slot] if slot < len(self._offsets) else 0
        return self._position + offset if offset else 0

    def _target(self, slot: int) -> int:
        place = self._place(slot)
        return place + _U32.unpack_from(self._content, place)[0] if place else 0

    def number(self, slot: int, kind: str, default: Any = 0) -> Any:
        """A scalar; `kind` is the letter of its type in `struct`."""
        place = self._place(slot)
        return struct.unpack_from(f"<{kind}", self._content, place)[0] if place else default

    def has(self, slot: int) -> bool:
        """Whether a field is present."""
        return bool(self._place(slot))

    def table(self, slot: int) -> Table | None:
        """A table, also that of a union; None if it is absent."""
        target = self._target(slot)
        return Table(self._content, target) if target else None

    def tables(self, slot: int) -> list[Table]:
        """A vector of tables."""
        first = self._target(slot) + 4
        return [Table(self._content, first + 4 * i + n) for i, n in enumerate(self.numbers(slot, "I"))]

    def numbers(self, slot: int, kind: str) -> tuple[Any, ...]:
        """A vector of scalars; `kind` is the letter of their type in `struct`. Empty if it is absent."""
        target = self._target(slot)
        if not target:
            return ()
        return struct.unpack_from(f"<{_U32.unpack_from(self._content, target)[0]}{kind}", self._content, target + 4)

    def span(self, slot: int) -> tuple[int, int]:
        """The positions at which a string or a vector of bytes begins and ends; (0, 0) if it is absent."""
        target = self._target(slot)
        if not target:
            return 0, 0
        return target + 4, target + 4 + _U32.unpack_from(self._content, target)[0]

    def data(self, slot: int) -> bytes:
        """A vector of bytes."""
        begin, end = self.span(slot)
        return self._content[begin:end]

    def text(self, slot: int) -> str:
        """A string; bytes that are not UTF-8 are replaced."""
        return self.data(slot).decode(errors="replace")
