"""The error family: one base for "anything Pocketlens refuses", each member also the fitting builtin."""

from __future__ import annotations


class PocketlensError(Exception):
    """Base of every error that Pocketlens raises on purpose; its text is one line that names the cure."""


class ContractError(PocketlensError, ValueError):
    """A contract that is not JSON, is of an unknown version, or has a field missing or out of range."""


class ModelFileError(PocketlensError, ValueError):
    """A model file that is missing, foreign, truncated or changed, or that its contract does not describe."""


class ImageError(PocketlensError, ValueError):
    """An image that cannot be read, is of a kind that is not accepted, or exceeds a limit."""


class InterpreterError(PocketlensError, RuntimeError):
    """No TensorFlow Lite interpreter that works is installed, or it refused the model."""


class WatchError(PocketlensError, OSError):
    """A folder that cannot be watched: gone, watched already, or its journal is damaged or cannot be written."""


class ActionError(PocketlensError, RuntimeError):
    """An answered image that could not be moved, or whose command failed."""


class UsageError(PocketlensError, ValueError):
    """A command was called with options or arguments that do not go together."""


def describe(error: BaseException) -> str:
    """An error in one plain line."""
    text = " ".join(str(error).split())
    if isinstance(error, PocketlensError):
        return text
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return f"unexpected {type(error).__name__}: {text[:500]} (--debug shows where)"
