"""Vectors of features: what callers give, as an array that a model can take; refused where a value makes no sense."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .errors import FeaturesError
from .input_spec import FeaturesInput

Vector: TypeAlias = npt.NDArray[np.float64]
FeaturesSource: TypeAlias = "Sequence[float] | Mapping[str, float] | npt.NDArray[Any]"

#: Standard deviations. A value further from the mean is probably in another unit; it overflows float32 in the network.
MAX_DEVIATIONS = 1e6


def load_vector(values: FeaturesSource, spec: FeaturesInput, name: str = "features") -> Vector:
    """One vector of readings, float64, shape (features,).

    Args:
        values: numbers in the order of the spec: a list, a tuple or an array; or a mapping of names to numbers.
        spec: the contract's input.
        name: of the vector, for messages.

    Raises:
        FeaturesError: another number of values, other names, or a value that is no finite number or lies more than a
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
    check_vectors(vector[np.newaxis], spec, lambda _row: name)
    return vector


def check_vectors(vectors: Vector, spec: FeaturesInput, name_of: Callable[[int], str]) -> None:
    """Refuse readings, shape (n, features), of which one is no number or far beyond any that a model can know.

    Args:
        name_of: a row's name for the message.

    Raises:
        FeaturesError: it names the first.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        good = np.abs((vectors - spec.mean) / spec.std) <= MAX_DEVIATIONS  # NaN is not
    if good.all():
        return
    row, column = (int(n) for n in np.argwhere(~good)[0])
    found, feature = float(vectors[row, column]), spec.names[column]
    if not np.isfinite(found):
        raise FeaturesError(f"{name_of(row)}: {feature} is {found}, expected a number; leave such readings out")
    raise FeaturesError(
        f"{name_of(row)}: {feature} is {found:g}, more than {MAX_DEVIATIONS:,.0f} standard deviations "
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
    if array.size and array.dtype.kind not in "buif":  # numpy would read text as numbers
        wrong = next((value for value in values if np.asarray(value).dtype.kind not in "buif"), values)
        raise FeaturesError(f"{name}: {wrong!r:.80} is no number, {wanted}")
    with np.errstate(over="ignore"):  # of long doubles: an infinity is refused by its name
        return array.astype(np.float64)
