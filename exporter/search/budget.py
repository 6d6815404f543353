"""What a network may cost on a device, and whether it does: decided from its untrained file, before any training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Cost(NamedTuple):
    """What a file costs on a device.

    Attributes:
        file_bytes: its size.
        latency_ms: predicted for one call; None without a profile of the device.
        memory_bytes: predicted, of the file and the interpreter's tensors; None without a profile.
    """

    file_bytes: int
    latency_ms: float | None = None
    memory_bytes: int | None = None

    def describe(self) -> str:
        """In words, for one line."""
        parts = [f"{self.file_bytes:,} bytes"]
        parts += [] if self.latency_ms is None else [f"{self.latency_ms:.3g} ms (predicted)"]
        parts += [] if self.memory_bytes is None else [f"{self.memory_bytes:,} bytes of memory (predicted)"]
        return ", ".join(parts)


class CostModel(Protocol):
    """Gives the cost of a model file; `profile_cost` has one for each profile of a device."""

    def cost_of(self, content: bytes) -> Cost:
        """The cost of the file with these bytes.

        Raises:
            PocketlensError: the file is damaged, or has an operator that the profile does not know.
        """


class BytesAlone:
    """The cost without a profile: the size of the file."""

    def cost_of(self, content: bytes) -> Cost:
        """The number of bytes."""
        return Cost(len(content))


@dataclass(frozen=True)
class Budget:
    """The most that a network may cost.

    Attributes:
        max_bytes: of the file; None for any size.
        max_latency_ms: predicted, of one call; None for any time. It needs a cost model with a profile.
        max_memory_bytes: predicted, of the file and the tensors; None for any. It needs a cost model with a profile.
    """

    max_bytes: int | None = None
    max_latency_ms: float | None = None
    max_memory_bytes: int | None = None

    def excess(self, cost: Cost) -> float:
        """How many times the budget a cost is, for the limit that it exceeds most; up to 1 it fits."""
        pairs = zip(cost, (self.max_bytes, self.max_latency_ms, self.max_memory_bytes), strict=True)
        return max((value / limit for value, limit in pairs if value is not None and limit is not None), default=0.0)

    def fits(self, cost: Cost) -> bool:
        """Whether a cost is within every limit."""
        return self.excess(cost) <= 1

    def describe(self) -> str:
        """In words, for one line; "no limit" without any."""
        limits = [
            None if self.max_bytes is None else f"{self.max_bytes:,} bytes",
            None if self.max_latency_ms is None else f"{self.max_latency_ms:g} ms",
            None if self.max_memory_bytes is None else f"{self.max_memory_bytes:,} bytes of memory",
        ]
        return ", ".join(limit for limit in limits if limit) or "no limit"

    def nearest(self, costs: Iterable[Cost]) -> Cost | None:
        """The cost that exceeds the budget least, to say what the smallest network would cost; None of none."""
        return min(costs, key=self.excess, default=None)
