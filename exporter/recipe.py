"""The recipes of model files and the settings of an export, as values."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.device_profile.format import DeviceProfile
from trainer.evaluation.decision_threshold import ThresholdRule

from .errors import ExportError
from .gates import Limits
from .operator_support import DEFAULT_TARGET

MODES = ("float32", "float16", "dynamic", "int8", "int16x8")
IO_TYPES = ("uint8", "int8", "float32")
OUTPUTS = ("logits", "probabilities")
_DEFAULT_IO = {"int8": "uint8"}


@dataclass(frozen=True)
class Recipe:
    """One file to make.

    Attributes:
        mode: one of `MODES`.
        io: type of the input and output tensors: float32; `"int8"` has the choice of `IO_TYPES`.

    Raises:
        ValueError: another mode, or an `io` that this mode does not have.
    """

    mode: str
    io: str = "float32"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode is {self.mode!r}, expected one of {', '.join(MODES)}")
        allowed = IO_TYPES if self.mode == "int8" else ("float32",)
        if self.io not in allowed:
            raise ValueError(f"io of {self.mode} is {self.io!r}, expected one of {', '.join(allowed)}")

    @classmethod
    def float32(cls) -> Recipe:
        """Weights and arithmetic as they were trained."""
        return cls("float32")

    @classmethod
    def float16(cls) -> Recipe:
        """Weights in half precision, half the size; the arithmetic stays float32."""
        return cls("float16")

    @classmethod
    def dynamic(cls) -> Recipe:
        """Weights of 1024 values and more in 8 bits; the arithmetic in 8 bits where a kernel has it, else float32."""
        return cls("dynamic")

    @classmethod
    def int8(cls, io: str = "uint8") -> Recipe:
        """Full-integer: 8-bit operators only, weights with a scale for each channel.

        Args:
            io: `"uint8"` takes raw pixels; `"int8"` and `"float32"` are for hosts that want these.
        """
        return cls("int8", io)

    @classmethod
    def int16x8(cls) -> Recipe:
        """16-bit activations and 8-bit weights: the size of int8, nearly the accuracy of float32, and slow."""
        return cls("int16x8")

    @classmethod
    def of(cls, mode: str, io: str = "uint8") -> Recipe:
        """The recipe of a mode; `io` is used where the mode has a choice."""
        return cls(mode, io if mode == "int8" else "float32")

    @property
    def name(self) -> str:
        """The file's name without its ending: the mode, and `io` where it is not the mode's default."""
        return self.mode if self.io == _DEFAULT_IO.get(self.mode, "float32") else f"{self.mode}-{self.io}"

    @property
    def file_name(self) -> str:
        """The name under which the file is published."""
        return f"{self.name}.tflite"

    @property
    def needs_representative_dataset(self) -> bool:
        """Whether the converter must see samples to find the range of each layer."""
        return self.mode in ("int8", "int16x8")


@dataclass(frozen=True)
class ExportConfig:
    """How an export is made.

    Attributes:
        limits: the gates.
        target: the interpreter of the device, one of `operator_support.TARGETS`. Every operator is checked against it.
            If it is installed, the models are measured with it.
        edgetpu: report where each operator would run on a Coral.
        rgb_input: put the conversion to grey inside the graph; see `rgb_input`.
        c_array: also write the first recipe that is not float32 (else float32) as C++ source; see `artifacts.c_source`.
        selftest: let each file carry up to three training images, 32 pixels a side at most, for a device to check
            itself with.
        calibration_samples: the number of training samples for the quantizer, at least 1.
        calibration_seed: the seed for choosing them; None for the seed of the run.
        false_accept_rate: the share of wrong predictions that a device may still give, 0 to 1; the threshold for it
            is fitted on validation images. With None a device always predicts a label.
        repair: if int8 fails a gate on validation images, try the known repairs and take the first that passes the
            gates.
        accept_low_accuracy: publish a model even if its input or its labels seem to be wrong; see `plausibility`. The
            report warns of it in either case.
        outputs: the kind of an external model's outputs, one of `OUTPUTS`; None to find it out. A softmax or a sigmoid
            is appended to logits.
        threshold: for the tasks binary and multilabel, how the score is chosen from which on a label is predicted; on
            the validation split, for each file. With None it is 0.5. See `trainer.evaluation.decision_threshold`.
        corruptions: also measure the files under corruptions, for the report. `Limits.min_robustness` does so too.
        corruption_images: on so many test images; None for a number that suits their size, 100 to 1,000.
        embedding: give each file the input of its last dense layer as a second output, and what `pocketlens teach`
            needs to know of its classes; see `embedding`.
        budget: the profile of a device, from `runtime.device_profile.format.read_profile`: the report has what the
            files are predicted to cost there, and the gates on latency and memory are on this prediction.
    """

    limits: Limits = field(default_factory=Limits)
    target: str = DEFAULT_TARGET
    edgetpu: bool = False
    rgb_input: bool = False
    c_array: bool = False
    selftest: bool = True
    calibration_samples: int = 500
    calibration_seed: int | None = None
    false_accept_rate: float | None = None
    repair: bool = False
    accept_low_accuracy: bool = False
    outputs: str | None = None
    threshold: ThresholdRule | None = None
    corruptions: bool = False
    corruption_images: int | None = None
    embedding: bool = False
    budget: DeviceProfile | None = None

    def __post_init__(self) -> None:
        if self.limits.max_memory is not None and self.budget is None:
            raise ExportError("`max_memory` is predicted for a device: give the device's profile as `budget`")

    @property
    def measures_corruptions(self) -> bool:
        """Whether the files are measured under corruptions."""
        return self.corruptions or self.limits.min_robustness is not None

    def check_task(self, task: str) -> None:
        """Refuse an embedding or a decision threshold that the task has no use for, and two thresholds.

        Raises:
            ExportError: it is refused.
        """
        if self.embedding and task != "multiclass":
            raise ExportError(
                f"`embedding` is for the task multiclass, to which classes can be taught, and this model has the task "
                f"{task}; leave it out, or train for the task multiclass"
            )
        if self.threshold is None:
            return
        if task == "multiclass":
            raise ExportError(
                "`threshold` is for models that say yes or no: the tasks binary and multilabel; the answer of this one "
                "is the class with the highest score"
            )
        if self.false_accept_rate is not None:
            raise ExportError("`threshold` and `false_accept_rate` both set a threshold; leave one of them out")
