"""The folder of what Pocketlens remembers between two starts."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "POCKETLENS_CACHE"
#: Its subfolders: marks of checked models, verdicts on tried ones, the arrays of data sets, and scores of folds.
SEALED, TRIALS, ARRAYS, FOLDS = "sealed", "trials", "arrays", "folds"


def cache_folder() -> Path | None:
    """The folder of our cache: $POCKETLENS_CACHE, else pocketlens/ in $XDG_CACHE_HOME or ~/.cache; else None."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):  # noqa: PTH117 - the specification says to ignore relative ones
        return Path(base, "pocketlens")
    try:
        return Path.home() / ".cache" / "pocketlens"
    except RuntimeError:  # no home
        return None
