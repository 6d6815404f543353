"""What to make of a model, as values."""

from __future__ import annotations

from dataclasses import dataclass

MODES = ("float32", "float16", "dynamic", "int8", "int16x8")
IO_TYPES = ("uint8", "int8", "float32")
_DEFAULT_IO = {"int8": "uint8"}


@dataclass(frozen=True)
class Recipe:
    """One file to make.

    Attributes:
        mode: one of `MODES`.
        io: type of the input and output tensors: float32, but for `"int8"`, which has the choice of `IO_TYPES`.

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
        """The recipe of a mode; `io` counts where the mode has a choice."""
        return cls(mode, io if mode == "int8" else "float32")

    @property
    def name(self) -> str:
        """The file's name without its ending: the mode, and `io` where it is not the mode's default."""
        return self.mode if self.io == _DEFAULT_IO.get(self.mode, "float32") else f"{self.mode}-{self.io}"

    @property
    def needs_calibration(self) -> bool:
        """Whether the converter must see images to find the range of each layer."""
        return self.mode in ("int8", "int16x8")
