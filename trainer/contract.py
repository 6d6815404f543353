"""The contract that a training writes: geometry, scaling, labels, task, and provenance."""

from __future__ import annotations

import importlib.metadata
import os
from datetime import datetime, timezone

from runtime import Contract, FeaturesInput, Provenance, __version__
from runtime.input_spec import InputSpec

from .data import Dataset
from .data.normalization import measure_feature_scaling, measure_scaling
from .data.sources import Indices
from .errors import TrainingError

_PACKAGES = ("tensorflow", "keras", "numpy", "pillow", "scikit-learn")


def make_contract(dataset: Dataset, train_indices: Indices, seed: int) -> Contract:
    """The contract of a model trained on this data set: its geometry, and the scaling measured on training pixels."""
    return Contract(
        labels=dataset.labels,
        task=dataset.task,
        input=_scaled(dataset, train_indices),
        provenance=Provenance(dataset.name, seed, _date(dataset), package_versions()),
    )


def _scaled(dataset: Dataset, train_indices: Indices) -> InputSpec:
    """The data set's input with the scaling measured on the training split."""
    spec = dataset.input
    if isinstance(spec, FeaturesInput):
        return measure_feature_scaling(spec, dataset.pixels[train_indices])
    return measure_scaling(spec, dataset.pixels, train_indices)


def _date(dataset: Dataset) -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        return dataset.date
    if not epoch.isdecimal():
        raise TrainingError(f"SOURCE_DATE_EPOCH is {epoch!r}, expected seconds since 1970")
    return datetime.fromtimestamp(int(epoch), timezone.utc).date().isoformat()


def package_versions() -> dict[str, str]:
    """The versions of this package and of those that decide the result of a training."""
    return {"pocketlens": __version__} | {name: importlib.metadata.version(name) for name in _PACKAGES}
