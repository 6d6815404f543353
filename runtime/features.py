"""A vector of a sensor's readings as input: what a contract says of it, and how it becomes a tensor.

Apart from `contract` and `preprocessing`, which lead here when a model takes features: what answers a picture need not
be loaded with this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from .contract import MAX_LABEL_LENGTH, as_tuple, is_number, is_printable, refuse
from .errors import FeaturesError, ModelFileError
from .preprocessing import Preprocessor, TensorSpec

Vector: TypeAlias = npt.NDArray[np.float64]
FeaturesSource: TypeAlias = "Sequence[float] | Mapping[str, float] | npt.NDArray[Any]"

MAX_FEATURES = 4096
_MAX_MAGNITUDE = 1e30
#: Standard deviations: a reading that lies further off is of another unit, and overflows float32 in the network.
FARTHEST = 1e6
_SHOWN = 8


@dataclass(frozen=True)
class FeaturesInput:
    """How a vector of readings becomes the input tensor.

    Each value is standardised by itself, in double precision and before quantization: `(value - mean) / std`. An
    8-bit tensor has one scale for all its values, and only after that do a temperature in degrees and a pressure in
    pascal need the same one.

    Attributes:
        names: of the features, in the order of the vector: 1 to 4096, distinct, printable, no blanks around them.
        mean: one number a feature, in its own unit; 0 without it.
        std: one positive number a feature, in its own unit; 1 without it.
        kind: `"features"`.

    Raises:
        ContractError: a field is out of range.

    Example:
        >>> FeaturesInput(("temperature", "pressure"), mean=(20, 101_325), std=(5, 800)).shape
        (2,)
    """

    names: tuple[str, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    kind: Literal["features"] = "features"

    def __post_init__(self) -> None:
        if self.kind != "features":
            refuse("input kind", self.kind, "features")
        names = as_tuple("input names", self.names)
        for name in names:
            if not isinstance(name, str) or not name or name != name.strip() or not is_printable(name):
                refuse(
                    "a feature's name", name, f"printable text of 1 to {MAX_LABEL_LENGTH} characters, no blanks around"
                )
        if not 1 <= len(names) <= MAX_FEATURES or len(set(names)) != len(names):
            refuse("input names", f"{len(names)} names, {len(set(names))} distinct", f"1 to {MAX_FEATURES} distinct")
        object.__setattr__(self, "names", names)
        self._set_scaling("mean", 0.0, lambda v: abs(v) <= _MAX_MAGNITUDE, "from -1e30 to 1e30")
        self._set_scaling("std", 1.0, lambda v: 1 / _MAX_MAGNITUDE <= v <= _MAX_MAGNITUDE, "from 1e-30 to 1e30")

    def _set_scaling(self, name: str, default: float, accepts: Callable[[float], bool], wanted: str) -> None:
        values = as_tuple(f"input {name}", getattr(self, name)) or (default,) * len(self.names)
        if len(values) != len(self.names) or not all(is_number(v) and accepts(v) for v in values):
            refuse(f"input {name}", list(values), f"{len(self.names)} numbers {wanted}, one a feature")
        object.__setattr__(self, name, tuple(float(v) for v in values))

    @property
    def shape(self) -> tuple[int]:
        """(features,)."""
        return (len(self.names),)

    def describe(self) -> str:
        """How many and which, for people: `2 features (x, y)`."""
        count = len(self.names)
        names = ", ".join(self.names[:_SHOWN]) + ", ..." * (count > _SHOWN)
        return f"{count} feature{'s' * (count > 1)} ({names})"


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
        good = np.abs((vectors - spec.mean) / spec.std) <= FARTHEST  # NaN is not
    if good.all():
        return
    row, column = (int(n) for n in np.argwhere(~good)[0])
    found, feature = float(vectors[row, column]), spec.names[column]
    if not np.isfinite(found):
        raise FeaturesError(f"{name_of(row)}: {feature} is {found}, expected a number; leave such readings out")
    raise FeaturesError(
        f"{name_of(row)}: {feature} is {found:g}, more than {FARTHEST:,.0f} standard deviations ({spec.std[column]:g}) "
        f"from its mean ({spec.mean[column]:g}); is it in the unit of the training data?"
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


class FeaturePreprocessor(Preprocessor):
    """What `Preprocessor` is where a contract's input are features.

    A float tensor gets `(value - mean) / std`. A quantized one gets `round((value - mean) / std / scale) +
    zero_point`, and what lies beyond its range becomes its least or its greatest value.

    Args:
        spec: the contract's input.
        tensor: the tensor to fill; without one, float32.

    Raises:
        ModelFileError: the tensor has a type that no vector can be put into.

    Example:
        >>> prepare = Preprocessor(FeaturesInput(("x", "y"), mean=(0, 100), std=(1, 50)))
        >>> prepare([2, 50]).tolist()
        [[2.0, -1.0]]
    """

    def __init__(self, spec: FeaturesInput, tensor: TensorSpec | None = None) -> None:
        self._features = spec
        self._mean, self._std = np.asarray(spec.mean), np.asarray(spec.std)
        self._tensor = tensor if tensor is not None and tensor.is_quantized else None
        if self._tensor is not None and self._tensor.scale <= 0:
            raise ModelFileError(f"model: {self._tensor.dtype} input without a quantization scale; export it again")
        if tensor is not None and not tensor.is_quantized and tensor.dtype != np.float32:
            raise ModelFileError(f"model: input of type {tensor.dtype}, expected float32, uint8 or int8")

    @property
    def feeds_raw_pixels(self) -> bool:
        """False: there are none."""
        return False

    def __call__(self, source: Any) -> npt.NDArray[Any]:
        """The input tensor for one vector, of shape (1, features); raises FeaturesError."""
        return self.scale(load_vector(source, self._features)[np.newaxis])

    def scale(self, samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Scale vectors of shape (n, features) to the tensor's type, in the same shape."""
        standard: Vector = (samples - self._mean) / self._std
        if self._tensor is None:
            return standard.astype(np.float32)
        limits = np.iinfo(self._tensor.dtype)
        stored: Vector = np.rint(standard / self._tensor.scale) + self._tensor.zero_point
        return stored.clip(limits.min, limits.max).astype(self._tensor.dtype)
