"""The errors of the trainer."""

from __future__ import annotations

from runtime import PocketlensError


class DatasetError(PocketlensError, ValueError):
    """A data set is missing, damaged, or too small to train and test on."""


class RunError(PocketlensError, OSError, ValueError):
    """A run folder exists already, cannot be read or written, is incomplete, or is damaged."""


class TrainingError(PocketlensError, ValueError):
    """The settings cannot be trained with, or a training diverged."""
