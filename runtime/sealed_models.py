"""Checks what a sealed model holds, once for each file: a seal shows that nothing changed, and not who made it.

Anybody can compute a seal. So the structure of a sealed model is checked as that of any other, and it is tried in a
child process unless each of its operators is of a kind that is known as a whole. The verdict is kept under the file's
digest, so that the next start only looks for a file of that name.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from .cache import SEALED, cache_folder
from .interpreter import AUTO, choose
from .model_file import ModelFile

#: Counts up when the check changes.
_VERSION = 2
_DIGEST_LENGTH = 64

#: The marks that this process has left: even where the cache cannot be written, it checks a model only once.
_known: set[str] = set()


def check_sealed(file: ModelFile, library: str = AUTO, delegate: str | None = None) -> None:
    """Return if a sealed model, whose digest was compared, is sound.

    Args:
        file: the model file.
        library, delegate: the interpreter that tries it, as for `interpreter.build`.

    Raises:
        ModelFileError: its structure is damaged, its time or memory depends on its input, or it does not run.
        InterpreterError: it has to be tried, and could not be.
    """
    content, contract, name = file
    digest = content[-_DIGEST_LENGTH:].decode("ascii", "replace")
    if _is_known(digest):
        return
    # A trial holds for the interpreter that made it. A delegate's could be exchanged beside it: each start asks.
    tried = f"{digest}-{_installation(choose(library))}" if delegate is None else ""
    if tried and _is_known(tried):
        return
    from .external.purpose import refuse_unbounded  # here, as a model that is known needs none of these
    from .tflite.model import check_structure

    structure = check_structure(content, name)
    refuse_unbounded(structure, name)
    if not structure.strange:
        _remember(digest)
        return
    from .external.sandbox import trust

    trust(content, name, library, delegate, contract)
    if tried:
        _remember(tried)


def _installation(library: str) -> str:
    """What changes when a library is installed again: its name, and when its first file was written."""
    spec = importlib.util.find_spec(library)
    try:
        time = os.stat(str(spec and spec.origin)).st_mtime_ns  # noqa: PTH116 - a fast start
    except OSError:
        time = 0
    return f"{library}-{time:x}"


def _mark(key: str) -> str:
    folder = cache_folder()
    return os.path.join(folder, SEALED, f"{key}-v{_VERSION}") if folder else ""  # noqa: PTH118 - a fast start


def _is_known(key: str) -> bool:
    mark = _mark(key)
    return key in _known or (bool(mark) and os.path.exists(mark))  # noqa: PTH110


def _remember(key: str) -> None:
    """Leave a mark; an error is ignored, as the cache only saves time."""
    _known.add(key)
    mark = Path(_mark(key))
    if mark == Path():
        return
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError:
        return
