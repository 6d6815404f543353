"""Arrays as text in JSON, read strictly: the members of a model file that hold numbers."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
import numpy.typing as npt


def require(holds: bool, what: str) -> None:
    """Raise ValueError unless a condition holds."""
    if not holds:
        raise ValueError(what)


def encode_array(values: npt.NDArray[Any]) -> str:
    """The bytes of an array, little-endian, in base64."""
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode()


def decode_array(text: Any, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Decode an array; raises ValueError if the text does not hold exactly its values."""
    require(isinstance(text, str), "values are no text")
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"values are no base64: {error}") from error
    wanted = np.dtype(dtype).newbyteorder("<")
    require(len(data) == int(np.prod(shape)) * wanted.itemsize, "number of values")
    return np.frombuffer(data, wanted).reshape(shape).astype(dtype)
