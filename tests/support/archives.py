"""Zip archives that no writer makes."""

from __future__ import annotations

import struct


def archive_of(members: int, comment: bytes = b"") -> bytes:
    """An archive whose list names many empty members; their content is not there."""
    names = (b"%x" % number for number in range(members))
    entries = (
        b"PK\1\2" + struct.pack("<4B4H3L5H2L", *(20, 0, 20), *[0] * 8, len(name), *[0] * 6) + name for name in names
    )
    listed = b"".join(entries)
    # The counts of the end record are too small for a million: a record of zip64 stands before it.
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, members, members, len(listed), 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(listed), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, len(comment))
    return listed + record + locator + end + comment
