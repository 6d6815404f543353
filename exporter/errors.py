"""What the exporter refuses."""

from __future__ import annotations

from runtime import PocketlensError


class ExportError(PocketlensError, RuntimeError):
    """A model that cannot be converted or measured."""
