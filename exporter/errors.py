"""The error that the exporter raises."""

from __future__ import annotations

from runtime import PocketlensError


class ExportError(PocketlensError, RuntimeError):
    """A model cannot be converted or measured."""


class RepositoryError(PocketlensError, RuntimeError):
    """A repository of signed models cannot be read, changed or signed; what is published stays as it was."""


class StorageError(PocketlensError, RuntimeError):
    """The database of a search cannot be used, or its study has other data."""
