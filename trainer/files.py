"""Writing a file so that it is whole or not there."""

from __future__ import annotations

import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write beside the file's place, then rename; folders above it are made.

    Raises:
        OSError: it cannot be written; what lay there is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.partial-", delete=False) as file:
        partial = Path(file.name)
        try:
            file.write(content)
            file.close()
            partial.chmod(0o644)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
