"""Holds back what native libraries write to standard error, unless something goes wrong.

For commands only: it redirects standard error of the whole process, which a library must not do to its host.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from .files import shown


@contextmanager
def held_stderr() -> Iterator[None]:
    """Hold back what native code writes to standard error; show it only if the block raises an error."""
    try:
        saved = os.dup(2)
    except OSError:  # a daemon's is closed, so there is nothing to hold back
        yield
        return
    _flush()
    with _unnamed_file() as held:
        os.dup2(held.fileno(), 2)
        failed = False
        try:
            yield
        except Exception:  # Ctrl-C is none
            failed = True
            raise
        finally:
            _flush()
            os.dup2(saved, 2)
            os.close(saved)
            if failed:
                held.seek(0)
                # It may quote a model file, so no control character of it may reach the terminal.
                lines = held.read().decode(errors="replace").split("\n")
                os.write(2, "\n".join(map(shown, lines)).encode("ascii", "backslashreplace"))


def _unnamed_file() -> BinaryIO:
    if hasattr(os, "memfd_create"):  # Linux; needs no further import
        return open(os.memfd_create("pocketlens"), "w+b")  # noqa: PTH123 - a file descriptor
    import tempfile

    return cast(BinaryIO, tempfile.TemporaryFile())


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


def quiet_tensorflow() -> None:
    """Import TensorFlow without its messages; its own variable can turn information and warnings on again."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Keras must run on TensorFlow here, whatever ~/.keras/keras.json says.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # Its modules hold a million objects that live as long as the process: looking through them for garbage costs half
    # a second while they are imported, and again at each full collection later.
    gc.disable()
    try:
        with held_stderr():
            # TensorFlow writes when it first looks for a GPU; done here, it writes nothing later.
            importlib.import_module("tensorflow").config.list_physical_devices("GPU")
    finally:
        gc.freeze()
        gc.enable()
