"""The child process of `driver`: `python -m fuzz.child models|foreign|resealed|images|documents [MODEL]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from fuzz import documents, foreign, images, models, resealed
from fuzz.driver import serve


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments[0] == "images":
            serve(images.runner(arguments[1], folder))
        elif arguments[0] == "documents":
            serve(documents.runner(arguments[1], folder))
        else:
            serve({"models": models, "foreign": foreign, "resealed": resealed}[arguments[0]].runner(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
