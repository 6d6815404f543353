"""From pixels to a tensor: the contract's scaling, joined to the tensor's own quantization.

One object serves training, evaluation and the device. A float tensor gets `(pixel - mean) / std`. A quantized
one gets `round((pixel - mean) / std / scale) + zero_point`, which for 256 possible pixels is a table made once;
where the exporter arranged scale and zero point well, the table is the identity and the raw pixels go in.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from .contract import ImageInput, InputSpec
from .errors import ModelFileError
from .images import Pixels, load_pixels

#: Up to so many values, a look into a table is faster than arithmetic.
_FEW = 4096


class TensorSpec(NamedTuple):
    """An input or output tensor as the interpreter describes it.

    Attributes:
        index: the interpreter's number for it.
        shape: with the batch axis first.
        dtype: numpy's.
        scale, zero_point: real = scale * (stored - zero_point); scale 0 where not quantized.

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
        """Real values (float32) of what the tensor stores, by its own scale and zero point."""
        if not self.is_quantized:
            return stored.astype(np.float32, copy=False)
        return (stored.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


class Preprocessor:
    """Turns a picture into an input tensor as a contract says; of features it makes a `features.FeaturePreprocessor`.

    Args:
        spec: the contract's input.
        tensor: the tensor to fill; without one, float32.

    Raises:
        ModelFileError: the tensor has a type that no picture can be put into.

    Example:
        >>> prepare = Preprocessor(ImageInput(2, 2, "grey"))
        >>> tensor = prepare(np.full((2, 2), 255, np.uint8))
        >>> tensor.shape, tensor.tolist()[0][0]
        ((1, 2, 2, 1), [[1.0], [1.0]])
    """

    def __new__(cls, spec: InputSpec, _tensor: TensorSpec | None = None) -> Preprocessor:
        """The class that suits the kind of input, which is then what `__init__` is called of."""
        if cls is Preprocessor and spec.kind == "features":
            from .features import FeaturePreprocessor  # here: pictures need none of it

            return super().__new__(FeaturePreprocessor)
        return super().__new__(cls)

    def __init__(self, spec: InputSpec, tensor: TensorSpec | None = None) -> None:
        spec = cast(ImageInput, spec)  # __new__ saw to it
        self._spec = spec
        # Scalars where the channels share them: over an axis of three, numpy takes ten times as long.
        shared = len(set(spec.mean)) == len(set(spec.std)) == 1
        self._mean = np.asarray(spec.mean[0] if shared else spec.mean, np.float32)
        self._inverse_std = (1.0 / np.asarray(spec.std[0] if shared else spec.std, np.float64)).astype(np.float32)
        self._table: npt.NDArray[Any] | None = None
        self._raw = False
        # What each pixel becomes, where the channels share it; up to `_most` values a look into it is fastest.
        self._column: npt.NDArray[Any] | None = None
        self._most = _FEW
        if tensor is not None and tensor.is_quantized:
            self._table = self._quantization_table(tensor)
            self._raw = bool((self._table == np.arange(256)[:, np.newaxis]).all())
            self._column = self._table[:, 0].copy() if self._table.shape[1] == 1 else None
            self._most = sys.maxsize
        elif shared:
            self._column = self._arithmetic(np.arange(256, dtype=np.uint8))
        if tensor is not None and not tensor.is_quantized and tensor.dtype != np.float32:
            raise ModelFileError(f"model: input of type {tensor.dtype}, expected float32, uint8 or int8")

    @property
    def feeds_raw_pixels(self) -> bool:
        """Whether the pixels go in as they are, with no arithmetic."""
        return self._raw

    def __call__(self, source: Any) -> npt.NDArray[Any]:
        """The input tensor for one picture, of shape (1, height, width, channels); raises ImageError."""
        return self.scale(load_pixels(source, self._spec)[np.newaxis])

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
        """What each of the 256 pixels becomes: shape (256, 1), or (256, channels) where these are scaled apart."""
        if tensor.scale <= 0:
            raise ModelFileError(f"model: {tensor.dtype} input without a quantization scale; export it again")
        same = len(set(self._spec.mean)) == len(set(self._spec.std)) == 1
        columns = 1 if same else self._spec.channels
        mean, std = np.asarray(self._spec.mean[:columns]), np.asarray(self._spec.std[:columns])
        real = (np.arange(256.0)[:, np.newaxis] - mean) / std
        limits = np.iinfo(tensor.dtype)
        stored = np.rint(real / tensor.scale) + tensor.zero_point
        table: npt.NDArray[Any] = np.clip(stored, limits.min, limits.max).astype(tensor.dtype)
        return table
