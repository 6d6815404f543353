"""What the exporter refuses."""

from __future__ import annotations

from runtime import PocketlensError


class RunFolderError(PocketlensError, ValueError):
    """A run folder that is missing, half there, or whose images have changed."""


class ExportError(PocketlensError, RuntimeError):
    """A model that cannot be converted or measured."""
