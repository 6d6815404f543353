"""A quick start for `classify`: imports that wait until they are used, no click, and a quick end.

It is kept because `pocketlens classify photo.jpg` takes 0.62 of the time that it takes through click (measured). Import
on this path only what an answer needs, and define values as NamedTuples: a frozen dataclass takes two milliseconds.

Most of that time goes into imports, and much of what numpy and Pillow import is not needed for one answer: random
numbers, masked arrays, subprocesses. The standard library's LazyLoader lets such a module wait until one of its names
is used. Only a command may do this; a library must not change how its host imports.
"""

from __future__ import annotations

import gc
import importlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from .options import DeclaredCommand

#: Pure Python modules that numpy, Pillow or dataclasses import at the top and that classifying does not use.
#: A module that is used after all (ExifTags, by a photo with EXIF) is loaded then. Some exist in some versions only.
DEFERRED = frozenset(
    {
        "numpy.core._add_newdocs",  # docstrings
        "numpy.core._add_newdocs_scalars",
        "numpy._core._add_newdocs",
        "numpy._core._add_newdocs_scalars",
        "numpy.ctypeslib",
        "numpy.fft",
        "numpy.ma",
        "numpy.polynomial",
        "numpy.random",
        "PIL.ExifTags",
        "PIL.JpegPresets",
        "PIL.TiffTags",
        "ast",
        "bz2",
        "inspect",
        "ipaddress",
        "logging",
        "lzma",
        "pickle",
        "platform",
        "shutil",
        "subprocess",
        "tempfile",
    }
)


class _DeferringFinder:
    """Finds the modules of DEFERRED as the import system does, and gives them a lazy loader."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in DEFERRED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec


_finder = _DeferringFinder()


def defer_imports() -> None:
    """From now on, load the modules of `DEFERRED` when they are first used."""
    sys.meta_path.insert(0, _finder)
    # No command here multiplies matrices in numpy, and each thread of OpenBLAS costs time and memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Imports create many objects that stay alive, so a garbage collection would find nothing.
    gc.disable()


def load_deferred() -> None:
    """Load the modules that wait, and defer no more; call it before threads start, as LazyLoader is not thread-safe."""
    if _finder not in sys.meta_path:
        return
    sys.meta_path.remove(_finder)
    gc.enable()
    for name in DEFERRED & sys.modules.keys():
        _ = sys.modules[name].__doc__  # using any attribute loads the module


def run_quickly(module: str, arguments: Sequence[str]) -> None:
    """Run a module's COMMAND and end the process; return without doing anything if click must read the line."""
    defer_imports()
    from ..errors import UsageError, describe
    from .options import name_options, parse
    from .output import discard_output, ignore_pillow_warnings, print_line

    command: DeclaredCommand = importlib.import_module(module).COMMAND
    values = parse(command, arguments)
    if values is None:
        load_deferred()
        return
    ignore_pillow_warnings()
    status = 1
    try:
        status = command.run(**values)
    except BrokenPipeError:
        discard_output()
    except KeyboardInterrupt:
        from ..child_process import STATUS_INTERRUPTED

        print_line("Aborted!", error=True)
        status = STATUS_INTERRUPTED
    except UsageError as error:
        from .app import usage_error

        status = usage_error(command, error)
    except Exception as error:
        flags = {option.parameter: option.flags[0] for option in command.options}
        print_line(f"error: {name_options(describe(error), flags)}", error=True)
    _leave(status)


def _leave(status: int) -> NoReturn:
    """End the process at once: Python's own shutdown takes as long as a small model's answer."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            status = status or 1
    os._exit(status)
