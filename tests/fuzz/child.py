"""The child process of `driver`: `python -m tests.fuzz.child models|images [MODEL]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from . import images, models
from .driver import serve


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        serve(models.runner(folder) if arguments[0] == "models" else images.runner(arguments[1], folder))


if __name__ == "__main__":
    main(sys.argv[1:])
