"""The error that the exporter raises."""

from __future__ import annotations

from runtime import PocketlensError


class ExportError(PocketlensError, RuntimeError):
    """A model cannot be converted or measured."""
