"""What the trainer refuses."""

from __future__ import annotations

from runtime import PocketlensError


class DatasetError(PocketlensError, ValueError):
    """A data set that is missing, damaged, or too small to train and test on."""


class RunError(PocketlensError, OSError):
    """A run folder that exists already, or cannot be written."""


class TrainingError(PocketlensError, ValueError):
    """Settings that cannot train, or a training that diverged."""
