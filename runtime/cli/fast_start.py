"""A command that answers once and ends: imports that wait until they are used, and no slow goodbye.

Most of the time of `pocketlens classify photo.jpg` is importing, and much of what numpy and Pillow import is never
used here: random numbers, masked arrays, a process starter. The standard library's LazyLoader lets such a module
wait until somebody asks it for a name. For the command only: no library may change how its host imports.

It takes 0.62 of the time of click's path. Import on this path only what an answer needs, and define values as
NamedTuples: a frozen dataclass takes two milliseconds to define.
"""

from __future__ import annotations

import gc
import importlib
import importlib.machinery
import importlib.util
import os
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from .options import DeclaredCommand

#: Pure Python modules that numpy, Pillow or dataclasses import at their top and that classifying does not use.
#: One that is used after all (ExifTags, by a photo with EXIF) is loaded then; one that does not exist is not missed.
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
    """Finds the modules of DEFERRED as the import system would, and lets them wait."""

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
    """From now on the modules of `DEFERRED` wait to be loaded until they are used."""
    sys.meta_path.insert(0, _finder)
    # Nothing here multiplies matrices in numpy, and each of OpenBLAS's threads costs time and memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Imports make much that lives on; looking through it for garbage finds none.
    gc.disable()


def load_deferred() -> None:
    """End that, and load what waits: to be called before threads start, since LazyLoader is not safe among them."""
    if _finder not in sys.meta_path:
        return
    sys.meta_path.remove(_finder)
    gc.enable()
    for name in DEFERRED & sys.modules.keys():
        _ = sys.modules[name].__doc__  # asking for any attribute loads


def run_quickly(module: str, arguments: Sequence[str]) -> None:
    """Run a module's COMMAND and end the process; return, nothing done, where the line is for click to judge."""
    defer_imports()
    from ..errors import UsageError, describe
    from .options import name_options, parse

    command: DeclaredCommand = importlib.import_module(module).COMMAND
    values = parse(command, arguments)
    if values is None:
        load_deferred()
        return
    # What Pillow warns of (odd tags) is either refused by the limits of `images` or harmless.
    warnings.filterwarnings("ignore", module="PIL")
    status = 1
    try:
        status = command.run(**values)
    except BrokenPipeError:
        _drop_output()
    except KeyboardInterrupt:
        _tell("Aborted!")
    except UsageError as error:
        from .app import usage_error

        status = usage_error(command, error)
    except Exception as error:
        flags = {option.parameter: option.flags[0] for option in command.options}
        _tell(f"error: {name_options(describe(error), flags)}")
    _leave(status)


def _tell(line: str) -> None:
    if sys.stderr is not None:  # a daemon's may be closed
        sys.stderr.write(f"{line}\n")


def _drop_output() -> None:
    """The reader of our output left, as `head` does; there is nobody to tell."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _leave(status: int) -> NoReturn:
    """End the process at once: taking Python apart costs as much as a small model's answer, and frees nothing."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            status = status or 1
    os._exit(status)
