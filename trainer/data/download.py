"""Downloads a file with progress and a size limit; it gets its name only after its content was checked.

Keras's `get_file` is not used: it hashes the compressed file, has no size limit, and imports TensorFlow.
"""

from __future__ import annotations

import http.client
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from runtime.progress import progress

from ..errors import DatasetError

_TIMEOUT_S = 30
_CHUNK = 2**16


def download(url: str, target: Path, *, limit: int, check: Callable[[Path], object]) -> None:
    """Download `url` beside `target`, and rename the file once `check` accepts it.

    Args:
        limit: the size accepted at most, in bytes.
        check: called with the temporary file; raises DatasetError to refuse it.

    Raises:
        DatasetError: the download failed, was cut off or is too large, `check` refused it, or it cannot be written.
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
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response, target.open("wb") as file:
        length = int(response.headers.get("Content-Length") or 0)
        if length > limit:
            raise DatasetError(f"{url}: {length} bytes, expected at most {limit}")
        received = 0
        with progress(length, f"downloading {target.name.partition('.partial')[0]}") as bar:
            while chunk := response.read(_CHUNK):
                received += len(chunk)
                if received > limit:
                    raise DatasetError(f"{url}: more than the {limit} bytes expected")
                file.write(chunk)
                bar.update(len(chunk))
        if length and received != length:
            raise DatasetError(f"{url}: cut off after {received} of {length} bytes")
