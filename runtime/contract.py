"""The contract: what a model takes, and what its outputs mean.

The trainer writes it once, the exporter puts it inside the model file, and the device obeys it; nobody types
preprocessing options again. It is a frozen value with a JSON form. That form is read strictly, since a field that is
ignored would silently change a model's input.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from .errors import ContractError
from .input_spec import (
    EXIF,
    INPUT_KINDS,
    MAX_LABEL_LENGTH,
    FeaturesInput,
    ImageInput,
    InputSpec,
    as_tuple,
    is_finite_number,
    is_integer,
    is_printable,
    refuse_field,
)

CONTRACT_FORMAT = "pocketlens-contract"
CONTRACT_VERSION = 1

TASKS = ("multiclass", "binary", "multilabel")
#: What the outputs are: probabilities; logits, which become probabilities by softmax or sigmoid; or numbers that are
#: answered as they are.
PROBABILITIES, SOFTMAX, SIGMOID, AS_IS = "probabilities", "softmax", "sigmoid", "as-is"
SCORES = (PROBABILITIES, SOFTMAX, SIGMOID, AS_IS)
#: Predictions of one input where the caller gives no number and the task does not ask for more.
DEFAULT_TOP = 3

#: Where no other score was chosen, a label is predicted if it is more probable than its absence.
DEFAULT_DECISION = 0.5
MAX_LABELS = 10_000
#: A file of labels, outside the contract.
MAX_LABELS_BYTES = 4 * 2**20
MAX_TEMPERATURE = 100.0
#: Values of an embedding.
MAX_EMBEDDING = 8192
MAX_JSON_BYTES = 4 * 2**20
_CONFIDENCE_RANGES = (
    ("temperature", 1 / MAX_TEMPERATURE, MAX_TEMPERATURE),
    ("threshold", 0.0, 1.0),
    ("decision", 1e-6, 1.0),
)


@dataclass(frozen=True)
class Provenance:
    """Where a model comes from.

    Attributes:
        dataset: the data set's name.
        seed: the training seed.
        date: ISO 8601 date of the source data, or of `SOURCE_DATE_EPOCH`; never the wall clock, so that
            the same command gives the same file.
        packages: the packages that trained the model, name to version.

    Raises:
        ContractError: a field is not printable text, or `seed` is no whole number.

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
                refuse_field(f"provenance {name}", value, "a line of text")
        if not is_integer(self.seed):
            refuse_field("provenance seed", self.seed, "a whole number")
        pairs = self.packages.items() if isinstance(self.packages, Mapping) else None
        if pairs is None or not all(isinstance(t, str) and is_printable(t) for pair in pairs for t in pair):
            refuse_field("provenance packages", self.packages, "an object of names and versions")


class Confidence(NamedTuple):
    """The calibration of the model's scores; the exporter fits it on the validation split.

    Attributes:
        temperature: 0.01 to 100; the logarithms of the scores are divided by it, and the results are normalised to
            sum to one again. Above 1 the scores come closer to each other; their order never changes. 1 leaves the
            scores as they are.
        threshold: 0 to 1; if the best score is below it, the prediction is "unknown". 0 never gives "unknown".
        decision: above 0, at most 1: the score from which on a label is predicted. For the task binary it is that of
            the second label, which is then the first prediction even where the other has a higher score. For the
            task multilabel it is the threshold too, if it was chosen; the task multiclass has only 0.5. With 0.5 the
            second of two labels needs more than 0.5.

    Example:
        >>> Confidence(temperature=1.5).threshold
        0.0
    """

    temperature: float = 1.0
    threshold: float = 0.0
    decision: float = DEFAULT_DECISION


_UNCALIBRATED = Confidence()


@dataclass(frozen=True)
class Contract:
    """What a model takes, and what its outputs mean.

    Attributes:
        labels: the name of each output, in the order of the outputs; unique, printable.
        input: how an image, or a vector of features, becomes the input tensor.
        task: `"multiclass"`: the outputs are probabilities that sum to one; `"binary"`: one output, the
            probability of the second of two labels; `"multilabel"`: each output is a probability of its own.
        provenance: where the model comes from.
        version: the version of the contract's format, 1.
        confidence: temperature and threshold of the scores.
        scores: what makes scores of the outputs: `"probabilities"` are scores already; `"softmax"` (for the task
            multiclass) and `"sigmoid"` are applied to logits; `"as-is"` gives the outputs themselves, which need not
            be probabilities, so that no answer is ever "unknown".
        embedding: the name of the second output tensor, with the values that the network's last dense layer takes; ""
            if the model has only its scores.
        taught: how many of the labels, the last ones, were taught to the model: the network has no output for them, and
            they are recognized by the embedding.

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
    version: int = CONTRACT_VERSION
    confidence: Confidence = _UNCALIBRATED
    scores: str = PROBABILITIES
    embedding: str = ""
    taught: int = 0

    def __post_init__(self) -> None:
        if not is_integer(self.version) or self.version != CONTRACT_VERSION:
            refuse_field("version", self.version, f"{CONTRACT_VERSION}; a newer Pocketlens wrote it, upgrade this one")
        if self.task not in TASKS:
            refuse_field("task", self.task, f"one of {', '.join(TASKS)}")
        object.__setattr__(self, "labels", self._checked_labels())
        if not isinstance(self.confidence, Confidence):
            refuse_field("confidence", self.confidence, "a Confidence")
        for name, least, most in _CONFIDENCE_RANGES:
            value = getattr(self.confidence, name)
            if not is_finite_number(value) or not least <= value <= most:
                refuse_field(f"confidence {name}", value, f"a number from {least:g} to {most:g}")
        if self.task == "multiclass" and self.confidence.decision != DEFAULT_DECISION:
            refuse_field("confidence decision", self.confidence.decision, f"{DEFAULT_DECISION} for the task multiclass")
        if self.scores not in SCORES:
            refuse_field("scores", self.scores, f"one of {', '.join(SCORES)}")
        if self.scores == SOFTMAX and self.task != "multiclass":
            refuse_field("scores", self.scores, f"{SIGMOID} for the task {self.task}, whose outputs are not exclusive")
        if self.scores == AS_IS and self.confidence != _UNCALIBRATED:
            refuse_field("confidence", tuple(self.confidence), f"none for scores that are taken {AS_IS}")
        self._check_embedding()

    def _check_embedding(self) -> None:
        if not isinstance(self.embedding, str) or not is_printable(self.embedding):
            refuse_field("embedding", self.embedding, "the name of an output")
        most = len(self.labels) - 2 if self.embedding and self.task == "multiclass" else 0
        if not is_integer(self.taught) or not 0 <= self.taught <= most:
            refuse_field("taught", self.taught, f"a whole number from 0 to {most}")

    def _checked_labels(self) -> tuple[str, ...]:
        labels = as_tuple("labels", self.labels)
        for label in labels:
            if not isinstance(label, str) or not label.strip() or not is_printable(label):
                refuse_field("a label", label, f"printable text of 1 to {MAX_LABEL_LENGTH} characters")
        count, distinct = len(labels), len(set(labels))
        if not 2 <= count <= MAX_LABELS or distinct != count:
            refuse_field("labels", f"{count} names, {distinct} distinct", f"2 to {MAX_LABELS:,} distinct names")
        if self.task == "binary" and count != 2:
            refuse_field("labels", f"{count} names", "2 names for the task binary")
        return labels

    @property
    def image_input(self) -> ImageInput:
        """`input`, for code that works on images only.

        Raises:
            ContractError: the model takes features.
        """
        if self.input.kind != "image":
            raise ContractError(f"the model takes {self.input.describe()}, and this is for models that take images")
        return self.input

    @property
    def network_labels(self) -> tuple[str, ...]:
        """The labels that the network was trained for; the others were taught."""
        return self.labels[: len(self.labels) - self.taught]

    @property
    def outputs(self) -> int:
        """How many scores the network gives."""
        return 1 if self.task == "binary" else len(self.network_labels)

    @property
    def gives_probabilities(self) -> bool:
        """Whether the scores are probabilities; only then can a score be compared with a threshold."""
        return self.scores != AS_IS

    def to_json(self) -> str:
        """The contract as indented JSON: the same text for the same contract.

        Fields that older versions do not know are left out where they have their defaults, so that these versions read
        a contract that needs none of them; they refuse a field that they do not know.
        """
        document = {"format": CONTRACT_FORMAT, **asdict(self), "confidence": self.confidence._asdict()}
        if self.confidence == _UNCALIBRATED:
            del document["confidence"]
        elif self.confidence.decision == DEFAULT_DECISION:
            del document["confidence"]["decision"]
        for name, default in (("scores", PROBABILITIES), ("embedding", ""), ("taught", 0)):
            if document[name] == default:
                del document[name]
        if document["input"].get("orientation") == EXIF:
            del document["input"]["orientation"]
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
        if not isinstance(data, dict) or data.pop("format", None) != CONTRACT_FORMAT:
            raise ContractError(f"contract: not a contract: it has no field format = {CONTRACT_FORMAT!r}")
        # The version comes before the fields: another version may have other fields.
        if data.get("version") != CONTRACT_VERSION:
            refuse_field("version", data.get("version"), f"{CONTRACT_VERSION}; upgrade Pocketlens if the file is newer")
        data["input"] = _read_input(data.get("input"))
        data["provenance"] = _build(Provenance, "provenance", data.get("provenance", {}))
        data["confidence"] = _read_confidence(data.get("confidence", {}))
        contract: Contract = _build(cls, "contract", data)
        return contract


def _read_input(data: object) -> Any:
    kind = data.get("kind", "image") if isinstance(data, dict) else "image"
    if kind not in INPUT_KINDS:
        refuse_field("input kind", kind, f"one of {', '.join(INPUT_KINDS)}; upgrade Pocketlens if it is newer")
    return _build(FeaturesInput if kind == "features" else ImageInput, "input", data)


def _read_confidence(value: object) -> Confidence:
    if not isinstance(value, dict) or set(value) - set(Confidence._fields):
        refuse_field("confidence", value, f"an object with {' and '.join(Confidence._fields)}; upgrade if it is newer")
    return Confidence(**value)


def _build(cls: type[Any], what: str, data: object) -> Any:
    if not isinstance(data, dict):
        refuse_field(what, data, "an object")
    unknown = sorted(set(data) - set(cls.__dataclass_fields__))
    if unknown:
        raise ContractError(f"contract: unknown field {unknown[0]!r} in {what}; upgrade Pocketlens if it is newer")
    try:
        return cls(**data)
    except TypeError as error:
        raise ContractError(f"contract: {what} is incomplete ({error})") from error
