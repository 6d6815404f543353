"""A small file cannot make the reader take much memory or time."""

from __future__ import annotations

import struct
import tracemalloc

import pytest

from runtime.errors import ModelFileError
from runtime.tflite.model import check_structure
from runtime.tflite.reader import Table


def test_a_table_keeps_only_the_fields_that_a_schema_has() -> None:
    slots = 32_000  # as many as a vtable can claim
    vtable = struct.pack("<HH", 4 + 2 * slots, 8) + bytes(2 * slots)
    content = vtable + bytes(-len(vtable) % 4)
    position = len(content)
    content += struct.pack("<iI", position, 0)
    tracemalloc.start()
    tables = [Table(content, position) for _ in range(1000)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(tables) == 1000
    assert peak < 2**20
    assert not tables[0].has(31_999)


def test_a_file_of_very_many_tables_is_refused() -> None:
    count = 200_000  # buffers, each an offset to the same empty table
    root_vtable = struct.pack("<HHHHHHH", 14, 8, 0, 0, 0, 0, 4) + bytes(2)  # 16 bytes at 8
    root = struct.pack("<iI", 24 - 8, 4)  # at 24: its vtable at 8, its buffers at 32
    header = struct.pack("<I4s", 24, b"TFL3")
    first = 36  # where the vector's offsets begin
    empty = first + 4 * count
    vector = struct.pack("<I", count) + b"".join(struct.pack("<I", empty + 4 - (first + 4 * i)) for i in range(count))
    content = header + root_vtable + root + vector + struct.pack("<HH", 4, 4) + struct.pack("<i", 4)
    with pytest.raises(ModelFileError, match=r"more than 100,000 tables|too often"):
        check_structure(content)
