"""The IDX format of the MNIST family: a header that gives the shape, then bytes.

Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database, "file formats".
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...errors import DatasetError

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, sha256: str, limit: int) -> npt.NDArray[np.uint8]:
    """The array in a gzipped IDX file whose *decompressed* content has the given SHA-256.

    The compressed bytes may be anybody's: only the content is checked.

    Args:
        limit: decompressed bytes read at most, so that a small hostile file cannot fill the memory.

    Raises:
        DatasetError: missing, not gzip, cut off, or another content.
    """
    try:
        with gzip.open(path) as file:
            content = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path}: cannot be decompressed ({error}); delete it and fetch it again") from error
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise DatasetError(
            f"{path}: its decompressed content has SHA-256 {actual[:12]}..., expected {sha256[:12]}...; "
            "it is damaged or another file: delete it and fetch it again"
        )
    return parse_idx(content, str(path))


def parse_idx(content: bytes, name: str) -> npt.NDArray[np.uint8]:
    """The array in decompressed IDX content; raises DatasetError where it is not one of unsigned bytes."""
    axes = content[3] if len(content) >= 4 else 0
    start = 4 + 4 * axes
    if content[:2] != b"\0\0" or not axes or content[2] != _UNSIGNED_BYTE or len(content) < start:
        raise DatasetError(f"{name}: not an IDX file of unsigned bytes")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", axes, 4))
    if math.prod(shape) != len(content) - start:
        raise DatasetError(f"{name}: its header says shape {shape}, it holds {len(content) - start} bytes")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
