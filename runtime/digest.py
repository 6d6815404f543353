"""SHA-256 without the wait for OpenSSL, which costs more to load than a small model takes to check."""

from __future__ import annotations

import sys
from typing import Any

#: From here on OpenSSL's speed is worth its import.
_LARGE = 2 * 2**20


def sha256(data: bytes | memoryview) -> str:
    """The SHA-256 of some bytes, in lower-case hex."""
    if len(data) < _LARGE and "hashlib" not in sys.modules:
        builtin = _builtin()
        if builtin is not None:
            return str(builtin(data).hexdigest())
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _builtin() -> Any:
    """CPython's own implementation, which hashlib falls back on; it has had two names, and need not exist."""
    for name in ("_sha2", "_sha256"):
        try:
            return __import__(name).sha256
        except ImportError:
            continue
    return None
