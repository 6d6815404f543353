"""What the trainer refuses."""

from __future__ import annotations

from runtime import PocketlensError


class DatasetError(PocketlensError, ValueError):
    """A data set that is missing, damaged, or too small to train and test on."""


class RunError(PocketlensError, OSError, ValueError):
    """A run folder that exists already, cannot be read or written, is half there, or is damaged."""


class TrainingError(PocketlensError, ValueError):
    """Settings that cannot train, or a training that diverged."""
