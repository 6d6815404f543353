"""Pictures in a folder or of a glob as a source, for trials."""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterator
from pathlib import Path

from ..errors import CameraError
from ..files import is_hidden_name, read_regular_file, shown
from ..image_formats import SUFFIXES
from ..image_limits import MAX_IMAGE_BYTES
from .frame import Picture
from .stopping import Stop

_log = logging.getLogger(__name__)


class PictureFiles:
    """The pictures of a folder, a glob or a file, sorted by name, each once.

    Args:
        name: the folder, glob or file.

    Attributes:
        name: the path of the picture that was given last.
    """

    reconnects = False
    is_recorded = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.damaged = 0
        self._pattern = name

    def _paths(self) -> list[str]:
        if Path(self._pattern).is_dir():
            names = (path for path in Path(self._pattern).iterdir() if not is_hidden_name(path.name))
            return sorted(str(path) for path in names if path.name.lower().endswith(SUFFIXES))
        if Path(self._pattern).is_file():
            return [self._pattern]
        return sorted(glob.glob(self._pattern, recursive=True))  # noqa: PTH207 - any name, as the shell would

    def check(self) -> None:
        """Raise CameraError if there is no picture."""
        if not self._paths():
            what = "no images in this folder" if Path(self._pattern).is_dir() else "no such folder or picture"
            raise CameraError(f"{shown(self.name)}: {what}; name a camera, an address, or - for a stream")

    def pictures(self, stop: Stop) -> Iterator[Picture]:
        """Yield the pictures; one that cannot be read is passed over with a warning."""
        for path in self._paths():
            if stop.is_set():
                return
            try:
                data, _ = read_regular_file(path, MAX_IMAGE_BYTES, CameraError)
            except CameraError as error:
                self.damaged += 1
                _log.warning("warning: %s", error)
                continue
            self.name = path
            yield data, None
