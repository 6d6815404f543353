"""What to make of a model, as values."""

from __future__ import annotations

from dataclasses import dataclass

IO_TYPES = ("int8", "uint8", "float32")


@dataclass(frozen=True)
class Recipe:
    """One file to make.

    Attributes:
        mode: `"float32"` or `"int8"`; also the file's name.
        io: type of the input and output tensors.
    """

    mode: str
    io: str

    @classmethod
    def float32(cls) -> Recipe:
        """Weights and arithmetic as they were trained."""
        return cls("float32", "float32")

    @classmethod
    def int8(cls, io: str = "uint8") -> Recipe:
        """Full-integer: 8-bit operators only, weights with a scale for each channel.

        Args:
            io: `"uint8"` takes raw pixels; `"int8"` and `"float32"` are for hosts that want these.

        Raises:
            ValueError: another `io`.
        """
        if io not in IO_TYPES:
            raise ValueError(f"io is {io!r}, expected one of {', '.join(IO_TYPES)}")
        return cls("int8", io)

    @property
    def is_quantized(self) -> bool:
        """Whether it needs calibration and has a gate to pass."""
        return self.mode != "float32"
