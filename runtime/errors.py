"""Our errors: one base for everything that Pocketlens refuses; each error is also the fitting builtin."""

from __future__ import annotations

import errno
import os

#: What a file system answers that has no room.
_FULL = (errno.ENOSPC, errno.EDQUOT)


class PocketlensError(Exception):
    """Base of every error that Pocketlens raises on purpose; its text is one line that names the cure.

    Example:
        >>> from runtime import Classifier, PocketlensError
        >>> try:
        ...     Classifier("int8.tflite").classify("missing.png")
        ... except PocketlensError as error:
        ...     print(error)
        missing.png: cannot be opened: No such file or directory
    """


class ContractError(PocketlensError, ValueError):
    """A contract is not JSON, has an unknown version, or has a field that is missing or out of range.

    Example:
        >>> from runtime import Contract, ImageInput
        >>> Contract(("cat", "cat"), ImageInput(96, 96))
        Traceback (most recent call last):
        runtime.errors.ContractError: contract: labels is '2 names, 1 distinct', expected 2 to 10,000 distinct names
    """


class ModelFileError(PocketlensError, ValueError):
    """A model file is missing, truncated, changed, not a model of ours, or does not fit its contract.

    Example:
        >>> from runtime import Classifier
        >>> Classifier("missing.tflite")
        Traceback (most recent call last):
        runtime.errors.ModelFileError: missing.tflite: cannot be opened: No such file or directory
    """


class InputError(PocketlensError, ValueError):
    """An input is not what the model takes; the base of ImageError and FeaturesError.

    Example:
        >>> from runtime import Classifier, InputError
        >>> try:
        ...     Classifier("int8.tflite").classify([0.5, 2.0])
        ... except InputError as error:
        ...     print(error)
        image is a list, expected a path, bytes, a binary file object, a PIL image or an array
    """


class ImageError(InputError):
    """An image cannot be read, has a format that is not accepted, or exceeds a limit.

    Example:
        >>> from runtime import Classifier
        >>> Classifier("int8.tflite").classify(b"")
        Traceback (most recent call last):
        runtime.errors.ImageError: image (bytes): empty file
    """


class FeaturesError(InputError):
    """A vector of features has a wrong length or wrong names, or a value that is not a finite number.

    Example:
        >>> from runtime.testing import FakeInterpreter
        >>> plant = FakeInterpreter(["dry", "wet"], [[0.9, 0.1]], features=("moisture", "light")).classifier()
        >>> plant.classify([0.31])
        Traceback (most recent call last):
        runtime.errors.FeaturesError: features: 1 values, expected 2 features (moisture, light)
    """


class InterpreterError(PocketlensError, RuntimeError):
    """No working TensorFlow Lite interpreter is installed, or it refused the model.

    Example:
        >>> from runtime import Classifier
        >>> with Classifier("int8.tflite") as classifier:
        ...     pass
        >>> classifier.classify("seven.png")
        Traceback (most recent call last):
        runtime.errors.InterpreterError: the classifier is closed
    """


class TeachingError(PocketlensError, ValueError):
    """A class cannot be taught: its label exists, its pictures are too few, or they resemble another class."""


class WatchError(PocketlensError, OSError):
    """A folder cannot be watched: it is gone or watched already, or its journal is damaged or cannot be written."""


class DeploymentError(PocketlensError, RuntimeError):
    """A new model is not installed, or its folder cannot be used; the model that was there answers on."""


class CameraError(PocketlensError, OSError):
    """A source of frames cannot be used: there is no such device or program, it is in use, or it gives no frames.

    Example:
        >>> from runtime.camera import frames
        >>> next(iter(frames("holiday/")))
        Traceback (most recent call last):
        runtime.errors.CameraError: holiday/: no such folder or picture; name a camera, an address, or - for a stream
    """


class ActionError(PocketlensError, RuntimeError):
    """A classified image could not be moved, or the command that was run for it failed."""


class UpdateError(PocketlensError, RuntimeError):
    """An update was not made: the repository cannot be reached or verified. The installed model stays."""


class UsageError(PocketlensError, ValueError):
    """A command was called with options or arguments that do not go together."""


def shortened(text: str, start: int = 3000, end: int = 1000) -> str:
    """A text without its middle, if it is longer than `start + end` characters; a message's end often names the cure.

    Example:
        >>> shortened("x" * 4_000_000, 3, 2)
        'xxx[3,999,995 characters left out]xx'
    """
    left_out = len(text) - start - end
    return text if left_out <= 0 else f"{text[:start]}[{left_out:,} characters left out]{text[-end:]}"


def shown_value(value: object) -> str:
    """A value's `repr`, or its type if it has none: Python prints no number of thousands of digits, no deep list."""
    try:
        return repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} that cannot be printed"


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error is one of a full disk, or was raised from one. Some libraries give the text alone."""
    while error is not None:
        if isinstance(error, OSError) and (error.errno in _FULL or os.strerror(errno.ENOSPC) in str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def describe(error: BaseException) -> str:
    """An error in one plain line."""
    text = " ".join(shortened(str(error)).split())
    if isinstance(error, PocketlensError):
        return text
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        cure = "; make room there, or name another folder" if error.errno in _FULL else ""
        return f"{where}{error.strerror}{cure}"
    return f"unexpected {type(error).__name__}: {text[:500]} (--debug shows where)"
