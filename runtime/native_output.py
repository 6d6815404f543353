"""Native libraries' chatter on standard error, held back unless things go wrong.

For commands only: it redirects the whole process's standard error, which no library may do to its host.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast


@contextmanager
def held_stderr() -> Iterator[None]:
    """Keep what native code writes to standard error; show it only if the block raises."""
    try:
        saved = os.dup(2)
    except OSError:  # a daemon's: closed, so there is nothing to hold back
        yield
        return
    _flush()
    with _unnamed_file() as held:
        os.dup2(held.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            _flush()
            os.dup2(saved, 2)
            os.close(saved)
            if failed:
                held.seek(0)
                os.write(2, held.read())


def _unnamed_file() -> BinaryIO:
    if hasattr(os, "memfd_create"):  # Linux; and nothing more to import
        return open(os.memfd_create("pocketlens"), "w+b")  # noqa: PTH123 - a file descriptor
    import tempfile

    return cast(BinaryIO, tempfile.TemporaryFile())


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


def quiet_tensorflow() -> None:
    """Import TensorFlow without its greeting, its information and warnings off unless the user set its variable."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Keras must run on TensorFlow here, whatever ~/.keras/keras.json says.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with held_stderr():
        # Looking for a GPU is what greets; done here, nothing is left to say later.
        importlib.import_module("tensorflow").config.list_physical_devices("GPU")
