"""The format of wheels, as far as a bundle writes them: the same files always give the same bytes."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import zipfile
from collections.abc import Mapping

#: Zip's earliest date: dates would make two equal wheels differ.
_NO_DATE = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16


def normalized(name: str) -> str:
    """The name of a package as all its spellings are compared (PEP 503).

    Example:
        >>> normalized("Typing_Extensions")
        'typing-extensions'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def wheel_content(files: Mapping[str, bytes]) -> bytes:
    """The bytes of a wheel.

    Args:
        files: its files by their names, with one `*.dist-info` folder and without RECORD, which is added.
    """
    info = next(name.partition("/")[0] for name in files if ".dist-info/" in name)
    record = f"{info}/RECORD"
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    for name, content in sorted(files.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        writer.writerow((name, f"sha256={digest}", len(content)))
    writer.writerow((record, "", ""))
    buffer = io.BytesIO()
    # Stored: what compresses differs between releases of zlib, and the bundle is compressed as a whole.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in (*sorted(files.items()), (record, lines.getvalue().encode())):
            member = zipfile.ZipInfo(name, _NO_DATE)
            member.external_attr = _MODE
            archive.writestr(member, content)
    return buffer.getvalue()
