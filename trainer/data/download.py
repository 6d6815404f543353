"""Downloads a file with progress and a size limit; it gets its name only after its content was checked.

Keras's `get_file` is not used: it hashes the compressed file, has no size limit, and imports TensorFlow.
"""

from __future__ import annotations

import contextlib
import http.client
import queue
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from runtime.progress import progress

from ..errors import DatasetError

_TIMEOUT_S = 30
#: A server that sends fewer bytes a second than this, on average since the start, is given up after `_PATIENCE_S`.
_LEAST_SPEED = 1000
_PATIENCE_S = 60
_CHUNK = 2**16
#: Chunks that wait to be written.
_WAITING = 16


def download(url: str, target: Path, *, limit: int, check: Callable[[Path], object]) -> None:
    """Download `url` beside `target`, and rename the file once `check` accepts it.

    Args:
        limit: the size accepted at most, in bytes.
        check: called with the temporary file; raises DatasetError to refuse it.

    Raises:
        DatasetError: the download failed, was cut off, is too large or too slow, `check` refused it, or it cannot be
            written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f"{target.name}.partial-", delete=False) as file:
            partial = Path(file.name)
    except OSError as error:
        raise DatasetError(f"{target.parent}: cannot be written: {error.strerror}") from error
    try:
        _fetch(url, partial, limit)
        check(partial)
        partial.chmod(0o644)
        partial.replace(target)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        if isinstance(error, DatasetError):
            raise DatasetError(str(error).replace(str(partial), url)) from error
        reason = getattr(error, "reason", None) or error
        raise DatasetError(f"{url}: cannot be downloaded: {reason}") from error
    finally:
        partial.unlink(missing_ok=True)


def _fetch(url: str, target: Path, limit: int) -> None:
    if not url.startswith(("https://", "http://")):
        raise DatasetError(f"{url}: only http and https are fetched")
    received = 0
    with contextlib.closing(_parts(url)) as parts, target.open("wb") as file:
        length = int(next(parts))
        if length > limit:
            raise DatasetError(f"{url}: {length} bytes, expected at most {limit}")
        with progress(length, f"downloading {target.name.partition('.partial')[0]}") as bar:
            for chunk in parts:
                received += len(chunk)
                if received > limit:
                    raise DatasetError(f"{url}: more than the {limit} bytes expected")
                file.write(chunk)
                bar.update(len(chunk))
    if length and received != length:
        raise DatasetError(f"{url}: cut off after {received} of {length} bytes")


def _parts(url: str) -> Generator[Any, None, None]:
    """The length that the server announces, 0 for none, and then the content in chunks.

    Another thread reads, since a timeout of a socket starts anew with each byte, in the headers too.

    Raises:
        DatasetError: the server is too slow.
        OSError, ValueError, http.client.HTTPException: the download failed.
    """
    parts: queue.Queue[Any] = queue.Queue(_WAITING)
    is_given_up = threading.Event()
    threading.Thread(target=_read, args=(url, parts, is_given_up), daemon=True).start()
    started, received = time.monotonic(), 0
    try:
        while True:
            try:
                part = parts.get(timeout=started + max(_PATIENCE_S, received / _LEAST_SPEED) - time.monotonic())
            except (queue.Empty, ValueError):  # ValueError: the time is up already
                raise DatasetError(
                    f"{url}: too slow: {received} bytes in {time.monotonic() - started:.0f} s; try again later"
                ) from None
            if isinstance(part, Exception):
                raise part
            if part is None:
                return
            received += len(part) if isinstance(part, bytes) else 0
            yield part
    finally:
        is_given_up.set()


def _read(url: str, parts: queue.Queue[Any], is_given_up: threading.Event) -> None:
    """Put a file's length and its chunks into a queue, then None, or an error; as long as somebody takes them."""

    def put(part: Any) -> None:
        while not is_given_up.is_set():
            try:
                parts.put(part, timeout=1)
            except queue.Full:
                continue
            return

    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
            put(int(response.headers.get("Content-Length") or 0))
            while not is_given_up.is_set() and (chunk := response.read1(_CHUNK)):
                put(chunk)
        put(None)
    except Exception as error:  # raised again where the parts are taken
        put(error)
