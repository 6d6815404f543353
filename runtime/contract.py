"""The contract: what a model expects of a picture, or of a vector of readings, and what its answers mean.

The trainer writes it once; the exporter puts it inside the model file; the device obeys it. Nobody retypes
preprocessing. It is a frozen value with a JSON form; reading that form is strict, since a field that is
ignored would change what a model sees without a word.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, TypeAlias

from .errors import ContractError

if TYPE_CHECKING:
    from .features import FeaturesInput

#: What a contract's `input` can be; `kind` tells them apart.
InputSpec: TypeAlias = "ImageInput | FeaturesInput"

FORMAT = "pocketlens-contract"
VERSION = 1

TASKS = ("multiclass", "binary", "multilabel")
INPUT_KINDS = ("image", "features")
COLOURS = {"grey": 1, "rgb": 3, "bgr": 3}
RESIZES = ("stretch", "pad", "crop")
FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")

MAX_SIDE = 4096
MAX_LABELS = 10_000
MAX_LABEL_LENGTH = 200
MAX_TEMPERATURE = 100.0
MAX_JSON_BYTES = 4 * 2**20


def refuse(what: str, found: object, wanted: str) -> NoReturn:
    """Raise ContractError: a field, what it is, and what it should be."""
    raise ContractError(f"contract: {what} is {found!r}, expected {wanted}")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether it is a finite number, and no truth value."""
    return (_is_int(value) or isinstance(value, float)) and math.isfinite(value)  # type: ignore[arg-type]


def as_tuple(name: str, value: object) -> tuple[Any, ...]:
    """A list or a tuple as a tuple; raises ContractError."""
    if not isinstance(value, list | tuple):
        refuse(name, value, "a list")
    return tuple(value)


@dataclass(frozen=True)
class ImageInput:
    """How a picture becomes the input tensor.

    Attributes:
        height: rows of the input tensor, 1 to 4096 pixels.
        width: columns of the input tensor, 1 to 4096 pixels.
        colour: `"grey"` (one channel), `"rgb"` or `"bgr"` (three, in that order).
        resize: `"stretch"` to the size whatever the shape; `"pad"`: keep the shape, fill with the background;
            `"crop"`: keep the shape, cut what juts out, evenly on both sides.
        filter: the resampling filter, by Pillow's name in lower case.
        background: red, green and blue, 0 to 255, put under transparent pixels and into padding.
        mean: one number a channel, in pixel units (0 to 255), subtracted from each pixel.
        std: one positive number a channel, in pixel units, by which the difference is then divided.
        kind: `"image"`; see `FeaturesInput` for the other kind.

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
    kind: Literal["image"] = "image"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("kind", INPUT_KINDS[:1]),
            ("colour", tuple(COLOURS)),
            ("resize", RESIZES),
            ("filter", FILTERS),
        ):
            if getattr(self, name) not in allowed:
                refuse(f"input {name}", getattr(self, name), f"one of {', '.join(allowed)}")
        for name in ("height", "width"):
            value = getattr(self, name)
            if not _is_int(value) or not 1 <= value <= MAX_SIDE:
                refuse(f"input {name}", value, f"a whole number from 1 to {MAX_SIDE}")
        background = as_tuple("input background", self.background)
        if len(background) != 3 or not all(_is_int(v) and 0 <= v <= 255 for v in background):
            refuse("input background", self.background, "three whole numbers from 0 to 255")
        object.__setattr__(self, "background", background)
        self._set_scaling("mean", 0.0, lambda v: 0 <= v <= 255, "from 0 to 255")
        self._set_scaling("std", 255.0, lambda v: 1e-3 <= v <= 1e6, "from 0.001 to 1,000,000")

    def _set_scaling(self, name: str, default: float, accepts: Any, wanted: str) -> None:
        given = as_tuple(f"input {name}", getattr(self, name))
        values = given or (default,) * self.channels
        if len(values) != self.channels or not all(is_number(v) and accepts(v) for v in values):
            refuse(f"input {name}", list(values), f"{self.channels} numbers {wanted}, one a channel")
        object.__setattr__(self, name, tuple(float(v) for v in values))

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return COLOURS[self.colour]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return (self.height, self.width, self.channels)


@dataclass(frozen=True)
class Provenance:
    """Where a model comes from.

    Attributes:
        dataset: the data set's name.
        seed: the training seed.
        date: ISO 8601 date of the source data, or of `SOURCE_DATE_EPOCH`; never the wall clock, so that
            the same command gives the same file.
        packages: name to version of what trained it.

    Example:
        >>> Provenance(dataset="pets", seed=7, date="2024-05-01", packages={"tensorflow": "2.21.0"}).dataset
        'pets'
    """

    dataset: str = ""
    seed: int = 0
    date: str = ""
    packages: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("dataset", "date"):
            value = getattr(self, name)
            if not isinstance(value, str) or not is_printable(value):
                refuse(f"provenance {name}", value, "a line of text")
        if not _is_int(self.seed):
            refuse("provenance seed", self.seed, "a whole number")
        pairs = self.packages.items() if isinstance(self.packages, Mapping) else None
        if pairs is None or not all(isinstance(t, str) and is_printable(t) for pair in pairs for t in pair):
            refuse("provenance packages", self.packages, "an object of names and versions")


def is_printable(text: str) -> bool:
    """Whether text can be shown on a terminal: a label must not carry escape sequences there."""
    return len(text) <= MAX_LABEL_LENGTH and text.isprintable()


class Confidence(NamedTuple):
    """What makes the model's scores mean what they say; the exporter fits it on images that training never saw.

    Attributes:
        temperature: 0.01 to 100; the logarithms of the scores are divided by it (above 1: less sure), then they are
            made to sum to one again. The order of the labels stays. 1 leaves the scores as they are.
        threshold: 0 to 1; where the best score is below it, the answer is "unknown". 0 answers always.

    Example:
        >>> Confidence(temperature=1.5).threshold
        0.0
    """

    temperature: float = 1.0
    threshold: float = 0.0


_AS_IT_IS = Confidence()


def _read_confidence(value: object) -> Confidence:
    known = set(Confidence._fields)
    if not isinstance(value, dict) or set(value) - known:
        refuse("confidence", value, f"an object with {' and '.join(Confidence._fields)}; upgrade if it is newer")
    return Confidence(**value)


@dataclass(frozen=True)
class Contract:
    """What a model expects and what its outputs mean.

    Attributes:
        labels: the name of each output, in the order of the outputs; unique, printable.
        input: how a picture, or a vector of readings, becomes the input tensor.
        task: `"multiclass"`: the outputs are probabilities that sum to one; `"binary"`: one output, the
            probability of the second of two labels; `"multilabel"`: each output is a probability of its own.
        provenance: where the model comes from.
        version: of the contract's format, 1.
        confidence: temperature and threshold of the scores.

    Raises:
        ContractError: a field is out of range.

    Example:
        >>> contract = Contract(("cat", "dog"), ImageInput(96, 96))
        >>> Contract.from_json(contract.to_json()) == contract
        True
    """

    labels: tuple[str, ...]
    input: InputSpec
    task: str = "multiclass"
    provenance: Provenance = Provenance()
    version: int = VERSION
    confidence: Confidence = _AS_IT_IS

    def __post_init__(self) -> None:
        if not _is_int(self.version) or self.version != VERSION:
            refuse("version", self.version, f"{VERSION}; a newer Pocketlens wrote it, upgrade this one")
        if self.task not in TASKS:
            refuse("task", self.task, f"one of {', '.join(TASKS)}")
        labels = as_tuple("labels", self.labels)
        for label in labels:
            if not isinstance(label, str) or not label.strip() or not is_printable(label):
                refuse("a label", label, f"printable text of 1 to {MAX_LABEL_LENGTH} characters")
        if not 2 <= len(labels) <= MAX_LABELS or len(set(labels)) != len(labels):
            refuse("labels", f"{len(labels)} names, {len(set(labels))} distinct", "2 to 10,000 distinct names")
        if self.task == "binary" and len(labels) != 2:
            refuse("labels", f"{len(labels)} names", "2 names for the task binary")
        object.__setattr__(self, "labels", labels)
        if not isinstance(self.confidence, Confidence):
            refuse("confidence", self.confidence, "a Confidence")
        for name, least, most in (("temperature", 1 / MAX_TEMPERATURE, MAX_TEMPERATURE), ("threshold", 0.0, 1.0)):
            value = getattr(self.confidence, name)
            if not is_number(value) or not least <= value <= most:
                refuse(f"confidence {name}", value, f"a number from {least:g} to {most:g}")

    @property
    def image_input(self) -> ImageInput:
        """`input`, for what works on pictures only.

        Raises:
            ContractError: the model takes features.
        """
        if self.input.kind != "image":
            raise ContractError(f"the model takes {self.input.describe()}, and this is for models that take images")
        return self.input

    @property
    def outputs(self) -> int:
        """How many numbers the model answers with."""
        return 1 if self.task == "binary" else len(self.labels)

    def to_json(self) -> str:
        """The contract as indented JSON: the same text for the same contract; a confidence only where there is one."""
        document = {"format": FORMAT, **asdict(self), "confidence": self.confidence._asdict()}
        if self.confidence == _AS_IT_IS:
            del document["confidence"]
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Contract:
        """Read what `to_json` wrote.

        Raises:
            ContractError: not JSON, not a contract, an unknown version, or a field unknown, missing or out of range.
        """
        if len(text) > MAX_JSON_BYTES:
            raise ContractError(f"contract: {len(text)} bytes long, expected at most {MAX_JSON_BYTES}")
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ContractError(f"contract: not JSON ({error})") from error
        if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
            raise ContractError(f"contract: not a contract: it has no field format = {FORMAT!r}")
        if data.get("version") != VERSION:  # before the fields: those of another version are not ours to judge
            refuse("version", data.get("version"), f"{VERSION}; upgrade Pocketlens if the file is newer")
        data["input"] = _read_input(data.get("input"))
        data["provenance"] = _build(Provenance, "provenance", data.get("provenance", {}))
        data["confidence"] = _read_confidence(data.get("confidence", {}))
        contract: Contract = _build(cls, "contract", data)
        return contract


def _read_input(data: object) -> Any:
    kind = data.get("kind", "image") if isinstance(data, dict) else "image"
    if kind not in INPUT_KINDS:
        refuse("input kind", kind, f"one of {', '.join(INPUT_KINDS)}; upgrade Pocketlens if it is newer")
    if kind == "features":
        from .features import FeaturesInput  # here: a picture's answer need not wait for it

        return _build(FeaturesInput, "input", data)
    return _build(ImageInput, "input", data)


def _build(cls: type[Any], what: str, data: object) -> Any:
    if not isinstance(data, dict):
        refuse(what, data, "an object")
    unknown = sorted(set(data) - set(cls.__dataclass_fields__))
    if unknown:
        raise ContractError(f"contract: unknown field {unknown[0]!r} in {what}; upgrade Pocketlens if it is newer")
    try:
        return cls(**data)
    except TypeError as error:
        raise ContractError(f"contract: {what} is incomplete ({error})") from error
