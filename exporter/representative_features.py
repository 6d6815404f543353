"""The representative dataset of a model that takes features, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from runtime.features import Vector, load_vector
from runtime.input_spec import FeaturesInput
from trainer.data.run_folder import RunFolder

from .errors import ExportError
from .representative_dataset_checks import FEW

#: Standard deviations beyond which a calibration value counts as this many. The input tensor has 256 steps for all that
#: calibration shows: one spike of 60 deviations would leave ten steps to everything else.
FAR = 6.0
#: Below this share equal readings are chance; a coarse sensor has many.
_MANY_EQUAL = 0.1


class Readings(NamedTuple):
    """What the quantizer sees.

    Attributes:
        vectors: float64, shape (n, features).
        figures: for `report.json`.
        warnings: what people should know, a line each.
    """

    vectors: Vector
    figures: dict[str, Any]
    warnings: tuple[str, ...]


def calibration_vectors(run: RunFolder, spec: FeaturesInput, chosen: npt.NDArray[np.int64]) -> Readings:
    """The chosen training vectors, and the two that reach furthest down and up, spikes cut.

    The converter takes the tensor's scale and zero point from the least and the greatest value that it sees, and what
    a device reads beyond them is clipped. So they are those of the whole training split.

    Args:
        chosen: indices of training vectors.

    Raises:
        ExportError: all of them are one.
    """
    vectors = _load(run, spec, chosen)
    if len(np.unique(vectors, axis=0)) < 2:
        raise ExportError(
            f"calibration: {len(vectors)} vectors, all the same; one shows the quantizer no range: "
            "give at least 100 different ones, see --calibration-samples"
        )
    test = {row.tobytes() for row in _load(run, spec, run.splits["test"])}
    figures = {
        "classes": len(set(run.targets[chosen].tolist())),
        "duplicates": len(vectors) - len(np.unique(vectors, axis=0)),
        "overlap": sum(row.tobytes() in test for row in vectors),
        "features": {
            name: {"min": float(column.min()), "max": float(column.max())}
            for name, column in zip(spec.names, vectors.T, strict=True)
        },
    }
    trained = _load(run, spec, run.splits["train"])
    standard = (trained - spec.mean) / spec.std
    cut = np.clip(standard, -FAR, FAR)
    extremes = trained[[cut.min(axis=1).argmin(), cut.max(axis=1).argmax()]]
    shown = (np.concatenate([vectors, extremes]) - spec.mean) / spec.std
    seen = np.clip(shown, -FAR, FAR) * spec.std + spec.mean
    far = (np.abs(standard) > FAR).sum(axis=0)
    return Readings(seen, figures, tuple(_warnings(run, spec, vectors, figures, far)))


def _load(run: RunFolder, spec: FeaturesInput, indices: npt.NDArray[np.int64]) -> Vector:
    if not len(indices):
        return np.empty((0, *spec.shape))
    return np.stack([load_vector(run.source.sample(int(i)), spec, f"{run.folder}: row {i}") for i in indices])


def _warnings(
    run: RunFolder, spec: FeaturesInput, vectors: Vector, figures: dict[str, Any], far: npt.NDArray[np.int64]
) -> Iterator[str]:
    count, classes = len(vectors), len(run.contract.labels)
    if count < FEW:
        yield f"calibration: {count} vectors; below {FEW} the ranges of layers are found by chance, give more"
    if figures["classes"] < classes:
        yield f"calibration: only {figures['classes']} of {classes} classes have a vector"
    if figures["overlap"] > _MANY_EQUAL * count:
        yield (
            f"calibration: {figures['overlap']} of {count} training vectors are test vectors too; where the readings "
            "of a sensor repeat themselves so much, accuracy says little of new ones"
        )
    for name, column in zip(spec.names, vectors.T, strict=True):
        if column.min() == column.max():
            yield f"calibration: feature {name!r} is {column[0]:g} in every vector; it tells the model nothing"
    for name, times in zip(spec.names, far.tolist(), strict=True):
        if times:
            yield (
                f"calibration: feature {name!r} lies more than {FAR:g} standard deviations from its mean in {times} "
                "training vectors; 8-bit files clip it there"
            )
