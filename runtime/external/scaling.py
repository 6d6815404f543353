"""The scaling of an image input that Pocketlens did not make, and the proof that it does not ruin the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from ..errors import ContractError
from ..input_spec import ImageInput
from ..preprocessing import TensorSpec, unclipped_pixels
from ..tflite.graph import TensorInfo

LOWEST_PIXEL = {"UINT8": 0, "INT8": -128}
#: Metadata and quantization together are near the identity up to this distance of a stored value from its pixel.
_NEAR = 8
#: Of the 256 pixel values, the most that may be clipped, and the fewest stored values that may be left of them.
_MOST_CLIPPED, _FEWEST_STORED = 5, 16

Numbers: TypeAlias = float | Sequence[float]


class Scaling(NamedTuple):
    """Mean and std in pixel units, one number or one a channel, and what there is to say about them."""

    mean: Numbers
    std: Numbers
    note: str = ""


def raw_scaling(given: TensorInfo) -> Scaling:
    """The scaling by which a quantized input is given the pixels as they are."""
    return Scaling((given.zero_point or (0,))[0] - LOWEST_PIXEL[given.type], 1 / given.scale[0])


def metadata_scaling(given: TensorInfo, spec: ImageInput) -> Scaling:
    """The scaling for the mean and std of the metadata, which `spec` has.

    Other tools feed raw pixels to a quantized input, whatever the normalization in its metadata. So the metadata counts
    only where it comes to nearly the same.
    """
    if given.type not in LOWEST_PIXEL:
        return Scaling(spec.mean, spec.std)
    stored = unclipped_pixels(spec, _tensor(given)) - LOWEST_PIXEL[given.type]
    if np.abs(stored - np.arange(256.0)[:, np.newaxis]).max() <= _NEAR and not _clipped(stored, 0):
        return Scaling(spec.mean, spec.std)
    note = (
        f"the pixels go in as they are: its metadata's {describe_scaling(spec)} do not fit its quantization "
        f"({_quantization(given)})"
    )
    return raw_scaling(given)._replace(note=note)


def check_scaling(spec: ImageInput, given: TensorInfo) -> None:
    """Refuse a scaling by which pictures lose what the model looks at.

    Raises:
        ContractError: pixel values are clipped, or many become one; or mean and std are not in pixel units.
    """
    if given.type not in LOWEST_PIXEL:
        check_pixel_units(spec)
        return
    stored = unclipped_pixels(spec, _tensor(given))
    clipped = _clipped(stored, LOWEST_PIXEL[given.type])
    kept = min(len(np.unique(column)) for column in stored.T)
    if clipped:
        what = f"{clipped} of the 256 pixel values would be clipped"
    elif kept < _FEWEST_STORED:
        what = f"the 256 pixel values would become {kept}"
    else:
        return
    raise ContractError(
        f"{describe_scaling(spec)} do not fit the model's {given.type} input ({_quantization(given)}): {what}; "
        "leave out `mean` and `std`, and the pixels go in as they are"
    )


def check_pixel_units(spec: ImageInput) -> None:
    """Refuse a mean and std that are meant for pixels of 0 to 1, as those of ImageNet are often given.

    Raises:
        ContractError: all are at most 1, and they are not 0 and 1, which leave the pixels as they are.
    """
    if max(*spec.mean, *spec.std) > 1 or (max(spec.mean) == 0 and min(spec.std) == 1):
        return
    mean, std = (list_numbers([255 * value for value in values]) for values in (spec.mean, spec.std))
    raise ContractError(f"{describe_scaling(spec)} are not in pixel units (0 to 255); did you mean {mean} and {std}?")


def _clipped(stored: np.ndarray[tuple[int, ...], np.dtype[np.float64]], lowest: int) -> int:
    """How many pixel values a channel loses at most to the ends of the range; 0 if they are few."""
    count = int(((stored < lowest) | (stored > lowest + 255)).sum(axis=0).max())
    return count if count > _MOST_CLIPPED else 0


def _tensor(given: TensorInfo) -> TensorSpec:
    return TensorSpec(given.shape, np.dtype(given.type.lower()), given.scale[0], (given.zero_point or (0,))[0])


def describe_scaling(spec: ImageInput) -> str:
    """Mean and std for a message."""
    return f"mean {list_numbers(spec.mean)} and std {list_numbers(spec.std)}"


def list_numbers(values: Sequence[float], separator: str = ", ") -> str:
    """Numbers of the channels for a message; one where all are the same."""
    distinct = values[:1] if len(set(values)) == 1 else values
    return separator.join(f"{value:g}" for value in distinct)


def _quantization(given: TensorInfo) -> str:
    return f"scale {given.scale[0]:g}, zero point {(given.zero_point or (0,))[0]}"
