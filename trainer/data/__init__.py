"""Data sets by name, folder or file, their splits and scaling, and run folders.

Imports the runtime and `trainer.errors`, and no TensorFlow; the exporter may import this room.
"""

from __future__ import annotations

from .dataset import Dataset, Geometry
from .datasets import DATASET_NAMES, load_dataset

__all__ = ["DATASET_NAMES", "Dataset", "Geometry", "load_dataset"]
