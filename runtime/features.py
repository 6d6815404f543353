"""Vectors of features: what callers give, as an array that a model can take; refused where a value makes no sense."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .errors import FeaturesError, shown_value
from .input_spec import FeaturesInput

Vector: TypeAlias = npt.NDArray[np.float64]
FeaturesSource: TypeAlias = "Sequence[float] | Mapping[str, float] | npt.NDArray[Any]"

#: Standard deviations. A value further from the mean is probably in another unit; it overflows float32 in the network.
MAX_FEATURE_DEVIATIONS = 1e6


def load_vector(values: FeaturesSource, spec: FeaturesInput, name: str = "features") -> Vector:
    """One vector of features, float64, shape (features,).

    Args:
        values: numbers in the order of the spec: a list, a tuple or an array; or a mapping of names to numbers.
        spec: the contract's input.
        name: the vector's name, for messages.

    Raises:
        FeaturesError: wrong number of values, wrong names, or a value that is not a finite number or lies more than a
            million standard deviations from the mean.

    Example:
        >>> load_vector({"y": 2, "x": 0.5}, FeaturesInput(("x", "y"))).tolist()
        [0.5, 2.0]
    """
    if isinstance(values, Mapping):
        values = _in_order(values, spec, name)
    vector = _as_array(values, spec, name)
    if vector.shape != spec.shape:
        found = f"{vector.size} values" if vector.ndim == 1 else f"an array of shape {vector.shape}"
        raise FeaturesError(f"{name}: {found}, expected {spec.describe()}")
    refuse_implausible(vector[np.newaxis], spec, lambda _row: name)
    return vector


def refuse_implausible(vectors: Vector, spec: FeaturesInput, name_of: Callable[[int], str]) -> None:
    """Refuse vectors of which a value is not finite, or further from its mean than any that a model was trained on.

    Args:
        vectors: float64, shape (n, features).
        spec: the contract's input.
        name_of: gives the name of a row, for the message.

    Raises:
        FeaturesError: there is such a value; the message names the first.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        good = np.abs((vectors - spec.mean) / spec.std) <= MAX_FEATURE_DEVIATIONS  # False for NaN
    if good.all():
        return
    row, column = (int(n) for n in np.argwhere(~good)[0])
    found, feature = float(vectors[row, column]), spec.names[column]
    if not np.isfinite(found):
        raise FeaturesError(f"{name_of(row)}: {feature} is {found}, expected a number; leave such readings out")
    raise FeaturesError(
        f"{name_of(row)}: {feature} is {found:g}, more than {MAX_FEATURE_DEVIATIONS:,.0f} standard deviations "
        f"({spec.std[column]:g}) from its mean ({spec.mean[column]:g}); is it in the unit of the training data?"
    )


def _in_order(values: Mapping[str, float], spec: FeaturesInput, name: str) -> list[float]:
    missing = [feature for feature in spec.names if feature not in values]
    unknown = [feature for feature in values if feature not in spec.names]
    if missing or unknown:
        found = f"no value for {missing[0]!r}" if missing else f"unknown feature {unknown[0]!r}"
        raise FeaturesError(f"{name}: {found}, expected {spec.describe()}")
    return [values[feature] for feature in spec.names]


def _as_array(values: Any, spec: FeaturesInput, name: str) -> Vector:
    wanted = f"expected {spec.describe()} as a list, an array or a mapping of numbers"
    if isinstance(values, str | bytes | bytearray) or not isinstance(values, Sequence | np.ndarray):
        raise FeaturesError(f"{name}: a {type(values).__name__}, {wanted}")
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise FeaturesError(f"{name}: lists of different lengths, {wanted}") from error
    if array.size and array.dtype.kind not in "buif":  # numpy would convert text to numbers
        wrong = next((value for value in values if np.asarray(value).dtype.kind not in "buif"), values)
        raise FeaturesError(f"{name}: {shown_value(wrong):.80} is no number, {wanted}")
    with np.errstate(over="ignore"):  # a long double may become an infinity, which the caller refuses
        return array.astype(np.float64)
