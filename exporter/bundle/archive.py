"""The archive of a bundle: its files, a list of their SHA-256, and the same bytes for the same files."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Mapping
from typing import Any

from runtime.errors import UsageError
from runtime.model_file import sha256

MANIFEST = "bundle.json"
#: Where no date is given: the earliest that a zip file can have, which tools take for "no date".
_NO_DATE = 315532800
_DATES_END = 8**11  # of the format's field
_LEVEL = 6


def manifest(facts: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    """`bundle.json`: the facts, then a line for each file. The installer reads these lines with sed."""
    head = json.dumps(facts, indent=2).removesuffix("\n}")
    lines = (
        json.dumps({"path": name, "bytes": len(content), "sha256": sha256(content)})
        for name, content in sorted(files.items())
    )
    return (head + ',\n  "files": [\n    ' + ",\n    ".join(lines) + "\n  ]\n}\n").encode()


def archive_content(top: str, files: Mapping[str, bytes]) -> bytes:
    """The bytes of a tar archive, compressed by gzip.

    Args:
        top: the folder that holds all files.
        files: their contents by their names; a name that ends in `.sh` may be executed. `SOURCE_DATE_EPOCH` is the
            date of all of them.
    """
    date = os.environ.get("SOURCE_DATE_EPOCH") or str(_NO_DATE)
    if not date.isdecimal() or int(date) >= _DATES_END:
        raise UsageError(f"SOURCE_DATE_EPOCH is {date!r}, expected seconds since 1970")
    buffer = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", _LEVEL, buffer, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        folders = {folder for name in files for folder in _folders(f"{top}/{name}")}
        for folder in sorted(folders):
            member = tarfile.TarInfo(folder)
            member.type, member.mode, member.mtime = tarfile.DIRTYPE, 0o755, int(date)
            archive.addfile(member)
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size, member.mtime = len(content), int(date)
            member.mode = 0o755 if name.endswith(".sh") else 0o644
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _folders(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]
