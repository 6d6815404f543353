"""From pixels or features to a tensor: the contract's scaling, joined to the tensor's own quantization.

One object serves training, evaluation and the device. A float tensor gets `(pixel - mean) / std`. A quantized
one gets `round((pixel - mean) / std / scale) + zero_point`. For 256 possible pixels that is a table, made once. The
exporter chooses scale and zero point so that this table is usually the identity: then the raw pixels go in.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from .errors import ModelFileError
from .images import Pixels, load_pixels
from .input_spec import FeaturesInput, ImageInput, InputSpec

#: Up to this number of pixels, a look into a table is faster than arithmetic.
_FEW = 4096


class TensorSpec(NamedTuple):
    """An input or output tensor as the interpreter describes it.

    Attributes:
        shape: the shape, with the batch axis first.
        dtype: numpy's type of the stored values.
        scale, zero_point: real = scale * (stored - zero_point); the scale of a tensor that is not quantized is 0.
        index: the interpreter's number for it.
        name: its name in the model.

    Example:
        >>> output = TensorSpec((1, 3), np.dtype(np.uint8), scale=1 / 256)
        >>> output.dequantize(np.array([[0, 64, 192]], np.uint8)).tolist()
        [[0.0, 0.25, 0.75]]
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float = 0.0
    zero_point: int = 0
    index: int = 0  # type: ignore[assignment]  # not tuple.index
    name: str = ""

    @classmethod
    def from_details(cls, details: dict[str, Any]) -> TensorSpec:
        """From one entry of `get_input_details()` or `get_output_details()`."""
        scale, zero_point = details["quantization"]
        return cls(
            shape=tuple(int(n) for n in details["shape"]),
            dtype=np.dtype(details["dtype"]),
            scale=float(scale),
            zero_point=int(zero_point),
            index=int(details["index"]),
            name=str(details["name"]),
        )

    @property
    def is_quantized(self) -> bool:
        """Whether it holds 8-bit integers."""
        return self.dtype in (np.dtype(np.uint8), np.dtype(np.int8))

    def dequantize(self, stored: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Stored values as real ones (float32), by the tensor's scale and zero point."""
        if not self.is_quantized:
            return stored.astype(np.float32, copy=False)
        return (stored.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


class Preprocessor:
    """Turns images into the input tensor of a model, as its contract says.

    Args:
        spec: the contract's input.
        tensor: the tensor to fill; float32 by default.

    Raises:
        ModelFileError: images cannot be put into a tensor of this type.

    Example:
        >>> prepare = Preprocessor(ImageInput(2, 2, "grey"))
        >>> tensor = prepare(np.full((2, 2), 255, np.uint8))
        >>> tensor.shape, tensor.tolist()[0][0]
        ((1, 2, 2, 1), [[1.0], [1.0]])
    """

    def __init__(self, spec: ImageInput, tensor: TensorSpec | None = None) -> None:
        self._spec = spec
        # Scalars where the channels share them: over an axis of three, numpy takes ten times as long.
        shared = len(set(spec.mean)) == len(set(spec.std)) == 1
        self._mean = np.asarray(spec.mean[0] if shared else spec.mean, np.float32)
        self._inverse_std = (1.0 / np.asarray(spec.std[0] if shared else spec.std, np.float64)).astype(np.float32)
        self._table: npt.NDArray[Any] | None = None
        self._raw = False
        # The tensor's value for each pixel value, where the channels share it, and up to how many pixels a look into
        # this column is faster than arithmetic.
        self._column: npt.NDArray[Any] | None = None
        self._most = _FEW
        if _is_quantized(tensor):
            self._table = self._quantization_table(tensor)
            self._raw = bool((self._table == np.arange(256)[:, np.newaxis]).all())
            self._column = self._table[:, 0].copy() if self._table.shape[1] == 1 else None
            self._most = sys.maxsize
        elif shared:
            self._column = self._arithmetic(np.arange(256, dtype=np.uint8))

    @property
    def feeds_raw_pixels(self) -> bool:
        """Whether the tensor takes the pixels as they are, without arithmetic."""
        return self._raw

    def __call__(self, source: Any, layout: str | None = None) -> npt.NDArray[Any]:
        """The input tensor for one image, shape (1, height, width, channels); raises ImageError.

        Args:
            source: the image.
            layout: as for `load_pixels`.
        """
        return self.scale(load_pixels(source, self._spec, layout)[np.newaxis])

    def scale(self, samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Scale uint8 pixels of shape (n, height, width, channels) to the tensor's type, in the same shape."""
        pixels: Pixels = samples
        if self._raw:
            return pixels
        if self._column is not None and pixels.size <= self._most:
            return self._column[pixels]
        if self._table is None:
            return self._arithmetic(pixels)
        return np.stack([column[pixels[..., c]] for c, column in enumerate(self._table.T)], axis=-1)

    def _arithmetic(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        scaled: npt.NDArray[np.float32] = np.subtract(pixels, self._mean, dtype=np.float32)
        scaled *= self._inverse_std
        return scaled

    def _quantization_table(self, tensor: TensorSpec) -> npt.NDArray[Any]:
        """The tensor's value for each of the 256 pixel values.

        Shape (256, 1), or (256, channels) where the channels differ in mean or std.
        """
        return _clip(unclipped_pixels(self._spec, tensor), tensor)


class FeaturePreprocessor:
    """Turns vectors of features into the input tensor of a model, as its contract says.

    A float tensor gets `(value - mean) / std`. A quantized one gets `round((value - mean) / std / scale) +
    zero_point`; a value beyond its range becomes its least or its greatest value.

    Args:
        spec: the contract's input.
        tensor: the tensor to fill; float32 by default.

    Raises:
        ModelFileError: vectors cannot be put into a tensor of this type.

    Example:
        >>> prepare = FeaturePreprocessor(FeaturesInput(("x", "y"), mean=(0, 100), std=(1, 50)))
        >>> prepare([2, 50]).tolist()
        [[2.0, -1.0]]
    """

    def __init__(self, spec: FeaturesInput, tensor: TensorSpec | None = None) -> None:
        self._spec = spec
        self._mean, self._std = np.asarray(spec.mean), np.asarray(spec.std)
        self._tensor = tensor if _is_quantized(tensor) else None

    @property
    def feeds_raw_pixels(self) -> bool:
        """False: there are no pixels."""
        return False

    def __call__(self, source: Any, layout: str | None = None) -> npt.NDArray[Any]:
        """The input tensor for one vector, shape (1, features); raises FeaturesError. `layout` is ignored."""
        from .features import load_vector  # here: a model that takes images does not need it

        return self.scale(load_vector(source, self._spec)[np.newaxis])

    def scale(self, samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Scale vectors of shape (n, features) to the tensor's type, in the same shape."""
        # Before quantization and in double precision: a tensor has one scale, and features have a range each.
        standard: npt.NDArray[np.float64] = (samples - self._mean) / self._std
        return standard.astype(np.float32) if self._tensor is None else _quantize(standard, self._tensor)


#: What `make_preprocessor` gives.
InputPreprocessor: TypeAlias = Preprocessor | FeaturePreprocessor


def make_preprocessor(spec: InputSpec, tensor: TensorSpec | None = None) -> InputPreprocessor:
    """The preprocessor for a contract's input, whichever kind it is.

    Args:
        spec: the contract's input.
        tensor: the tensor to fill; float32 by default.

    Raises:
        ModelFileError: the input cannot be put into a tensor of this type.

    Example:
        >>> make_preprocessor(FeaturesInput(("x", "y")))([2, 50]).tolist()
        [[2.0, 50.0]]
    """
    return FeaturePreprocessor(spec, tensor) if spec.kind == "features" else Preprocessor(spec, tensor)


def _is_quantized(tensor: TensorSpec | None) -> TypeGuard[TensorSpec]:
    """Whether a tensor holds 8-bit integers; raises ModelFileError where no input can be put into it."""
    if tensor is None:
        return False
    if not tensor.is_quantized and tensor.dtype != np.float32:
        raise ModelFileError(f"model: input of type {tensor.dtype}, expected float32, uint8 or int8")
    if tensor.is_quantized and tensor.scale <= 0:
        raise ModelFileError(f"model: {tensor.dtype} input without a quantization scale; export it again")
    return tensor.is_quantized


def unclipped_pixels(spec: ImageInput, tensor: TensorSpec) -> npt.NDArray[np.float64]:
    """What a quantized tensor would store for each of the 256 pixel values if its range had no end.

    Returns:
        whole numbers, shape (256, 1), or (256, channels) where the channels differ in mean or std.
    """
    same = len(set(spec.mean)) == len(set(spec.std)) == 1
    columns = 1 if same else spec.channels
    mean, std = np.asarray(spec.mean[:columns]), np.asarray(spec.std[:columns])
    return _unclipped((np.arange(256.0)[:, np.newaxis] - mean) / std, tensor)


def _unclipped(real: npt.NDArray[np.float64], tensor: TensorSpec) -> npt.NDArray[np.float64]:
    stored: npt.NDArray[np.float64] = np.rint(real / tensor.scale) + tensor.zero_point
    return stored


def _clip(stored: npt.NDArray[np.float64], tensor: TensorSpec) -> npt.NDArray[Any]:
    limits = np.iinfo(tensor.dtype)
    return stored.clip(limits.min, limits.max).astype(tensor.dtype)


def _quantize(real: npt.NDArray[np.float64], tensor: TensorSpec) -> npt.NDArray[Any]:
    """Real values as a quantized tensor stores them, clipped to its range."""
    return _clip(_unclipped(real, tensor), tensor)
