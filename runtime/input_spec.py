"""The input of a model, an image or a vector of features, as a part of the contract.

Both kinds are frozen values that check their fields. The limits and the helpers of these checks, shared by `contract`,
are here too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NoReturn, TypeAlias, TypeGuard

from .errors import ContractError, shortened, shown_value

INPUT_KINDS = ("image", "features")
#: The colours of an image input, each with its number of channels.
COLOURS = {"grey": 1, "rgb": 3, "bgr": 3}
RESIZES = ("stretch", "pad", "crop")
#: Filters that take the pixels of `tf.image.resize`; the others are Pillow's.
TF_BILINEAR, TF_NEAREST = "tf-bilinear", "tf-nearest"
TF_FILTERS = (TF_BILINEAR, TF_NEAREST)
#: Filters that take single pixels of the image in its full size, so that a JPEG must not be decoded at reduced scale.
PICKING_FILTERS = ("nearest", *TF_FILTERS)
FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos", *TF_FILTERS)

#: Whether an image is turned as its EXIF orientation says, or taken as it is stored.
EXIF, IGNORE = "exif", "ignore"
ORIENTATIONS = (EXIF, IGNORE)

MAX_INPUT_SIDE = 4096
MAX_FEATURES = 4096
#: Characters of a label, of a feature's name and of a text of the provenance.
MAX_LABEL_LENGTH = 200
_MAX_MAGNITUDE = 1e30
#: Names that `FeaturesInput.describe` lists.
_MAX_DESCRIBED = 8


def refuse_field(field: str, found: object, wanted: str) -> NoReturn:
    """Raise ContractError with a field's name, its value and what it should be."""
    raise ContractError(f"contract: {field} is {shortened(shown_value(found), 200, 50)}, expected {wanted}")


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a value is an integer; a truth value is not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_finite_number(value: object) -> bool:
    """Whether a value is a finite integer or float that double precision can hold; a truth value is not."""
    if is_integer(value):
        return abs(value) < 2**1023  # a larger one overflows where it becomes a float
    return isinstance(value, float) and math.isfinite(value)


def as_tuple(field: str, value: object) -> tuple[Any, ...]:
    """A list or a tuple as a tuple; raises ContractError for anything else."""
    if not isinstance(value, list | tuple):
        refuse_field(field, value, "a list")
    return tuple(value)


def is_printable(text: str) -> bool:
    """Whether a text can be shown on a terminal: a label must not carry escape sequences there."""
    return len(text) <= MAX_LABEL_LENGTH and text.isprintable()


def _scaling(
    field: str, given: object, default: float, count: int, accepts: Callable[[float], bool], wanted: str
) -> tuple[float, ...]:
    """Mean or std as `count` floats; `default` for each where none is given."""
    values = as_tuple(f"input {field}", given) or (default,) * count
    if len(values) != count or not all(is_finite_number(value) and accepts(value) for value in values):
        refuse_field(f"input {field}", list(values), f"{count} numbers {wanted}")
    return tuple(float(value) for value in values)


@dataclass(frozen=True)
class ImageInput:
    """How an image becomes the input tensor.

    Attributes:
        height: rows of the input tensor, 1 to 4096 pixels.
        width: columns of the input tensor, 1 to 4096 pixels.
        colour: `"grey"` (one channel), `"rgb"` or `"bgr"` (three, in that order).
        resize: `"stretch"` changes the aspect ratio where needed; `"pad"` keeps it and fills with the background;
            `"crop"` keeps it and cuts what does not fit, evenly on both sides.
        filter: the resampling filter, by Pillow's name in lower case; or `"tf-bilinear"` or `"tf-nearest"`, which give
            the pixels of `tf.image.resize` and of Keras's `image_dataset_from_directory`. With these two and with
            `"nearest"` a JPEG is decoded in full, which takes longer. With these two, `"crop"` and `"pad"` follow
            Keras's `crop_to_aspect_ratio` and `pad_to_aspect_ratio`.
        background: red, green and blue, 0 to 255, put under transparent pixels and into padding.
        mean: one number a channel, in pixel units (0 to 255), subtracted from each pixel; 0 by default.
        std: one positive number a channel, in pixel units, that divides the difference; 255 by default.
        orientation: `"exif"` turns an image as its EXIF tag says, as viewers do; `"ignore"` takes it as it is stored,
            as Keras's loaders do.
        kind: `"image"`; see `FeaturesInput` for the other kind.
        noun: the samples' name in messages.

    Raises:
        ContractError: a field is out of range.

    Example:
        >>> ImageInput(96, 128, "grey", mean=(128,), std=(64,)).shape
        (96, 128, 1)
    """

    height: int
    width: int
    colour: str = "rgb"
    resize: str = "stretch"
    # After a JPEG is decoded at reduced scale, bilinear costs accuracy; hamming and bicubic do not.
    filter: str = "hamming"
    background: tuple[int, int, int] = (255, 255, 255)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    orientation: str = EXIF
    kind: Literal["image"] = "image"
    noun: ClassVar[str] = "images"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("kind", INPUT_KINDS[:1]),
            ("colour", tuple(COLOURS)),
            ("resize", RESIZES),
            ("filter", FILTERS),
            ("orientation", ORIENTATIONS),
        ):
            if getattr(self, name) not in allowed:
                refuse_field(f"input {name}", getattr(self, name), f"one of {', '.join(allowed)}")
        for name in ("height", "width"):
            value = getattr(self, name)
            if not is_integer(value) or not 1 <= value <= MAX_INPUT_SIDE:
                refuse_field(f"input {name}", value, f"a whole number from 1 to {MAX_INPUT_SIDE}")
        background = as_tuple("input background", self.background)
        if len(background) != 3 or not all(is_integer(v) and 0 <= v <= 255 for v in background):
            refuse_field("input background", self.background, "three whole numbers from 0 to 255")
        mean = _scaling("mean", self.mean, 0.0, self.channels, lambda v: 0 <= v <= 255, "from 0 to 255, one a channel")
        std = _scaling(
            "std", self.std, 255.0, self.channels, lambda v: 1e-3 <= v <= 1e6, "from 0.001 to 1,000,000, one a channel"
        )
        for name, values in (("background", background), ("mean", mean), ("std", std)):
            object.__setattr__(self, name, values)

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return COLOURS[self.colour]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return (self.height, self.width, self.channels)


@dataclass(frozen=True)
class FeaturesInput:
    """How a vector of features, such as a sensor's readings, becomes the input tensor.

    Each value is standardised by itself, in double precision and before quantization: `(value - mean) / std`. An
    8-bit tensor has one scale for all its values, so a temperature in degrees and a pressure in pascal fit it only
    afterwards.

    Attributes:
        names: the features' names, in the order of the vector: 1 to 4096, distinct, printable, no blanks around them.
        mean: one number a feature, in its own unit; 0 by default.
        std: one positive number a feature, in its own unit; 1 by default.
        kind: `"features"`.
        noun: the samples' name in messages.

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
    noun: ClassVar[str] = "vectors"

    def __post_init__(self) -> None:
        if self.kind != "features":
            refuse_field("input kind", self.kind, "features")
        names = as_tuple("input names", self.names)
        for name in names:
            if not isinstance(name, str) or not name or name != name.strip() or not is_printable(name):
                wanted = f"printable text of 1 to {MAX_LABEL_LENGTH} characters, no blanks around"
                refuse_field("a feature's name", name, wanted)
        count, distinct = len(names), len(set(names))
        if not 1 <= count <= MAX_FEATURES or distinct != count:
            refuse_field("input names", f"{count} names, {distinct} distinct", f"1 to {MAX_FEATURES} distinct")
        mean = _scaling(
            "mean", self.mean, 0.0, count, lambda v: abs(v) <= _MAX_MAGNITUDE, "from -1e30 to 1e30, one a feature"
        )
        std = _scaling(
            "std",
            self.std,
            1.0,
            count,
            lambda v: 1 / _MAX_MAGNITUDE <= v <= _MAX_MAGNITUDE,
            "from 1e-30 to 1e30, one a feature",
        )
        for field, values in (("names", names), ("mean", mean), ("std", std)):
            object.__setattr__(self, field, values)

    @property
    def shape(self) -> tuple[int]:
        """(features,)."""
        return (len(self.names),)

    def describe(self) -> str:
        """How many features there are, and the names of the first: `2 features (x, y)`."""
        count = len(self.names)
        names = ", ".join(self.names[:_MAX_DESCRIBED]) + ", ..." * (count > _MAX_DESCRIBED)
        return f"{count} feature{'s' * (count > 1)} ({names})"


#: A contract's `input`; `kind` tells both apart.
InputSpec: TypeAlias = ImageInput | FeaturesInput
