"""The gates: what a model may cost at most before it is published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

#: A hair of tolerance: 0.97 - 0.96 is a little more than 0.01 in binary.
_HAIR = 1e-9


@dataclass(frozen=True)
class Limits:
    """What is allowed; `None` where nothing is asked.

    Attributes:
        max_drop: accuracy that may be lost against float32, 0 to 1; of binary ROC AUC too, of multilabel mean average
            precision, and F1.
        max_class_drop: recall that any one class may lose against float32, 0 to 1; of multilabel average precision.
        min_agreement: share of test images on which it answers as float32 does, 0 to 1; of multilabel, names the same
            labels.
        max_bytes: size of the file.
        max_latency_ms: median of one call on this machine, decoding included.
    """

    max_drop: float | None = 0.01
    max_class_drop: float | None = None
    min_agreement: float | None = None
    max_bytes: int | None = None
    max_latency_ms: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


#: The gates that a repair can make a file pass. Size and latency are excluded: every repair increases both.
REPAIRABLE = {"drop", "roc-auc-drop", "f1-drop", "class-drop", "agreement"}


@dataclass(frozen=True)
class Gate:
    """One gate and how a model fared at it.

    Attributes:
        name: as in the command's option: "drop", "class-drop", "agreement", "bytes", "latency"; and "roc-auc-drop" and
            "f1-drop", which the option of "drop" governs.
        value: what was found.
        limit: what was allowed.
        passed: whether it is within.
        metric: what a drop is of, as people read it; "" for the other gates.
    """

    name: str
    value: float
    limit: float
    passed: bool
    metric: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For `report.json`: a latency is left out, since it is never the same twice."""
        found = asdict(self)
        if self.name == "latency":
            del found["value"]
        if not self.metric:
            del found["metric"]
        return found

    def describe(self) -> str:
        """One clause for people; shares are in points."""
        if self.metric:
            return f"loses {100 * self.value:.2f} points of {self.metric}, `max_drop` allows {100 * self.limit:.2f}"
        texts = {
            "class-drop": f"one class loses {100 * self.value:.2f} points, `max_class_drop` allows "
            f"{100 * self.limit:.2f}",
            "agreement": f"answers as float32 on {self.value:.4f} of the images, `min_agreement` asks {self.limit:.4f}",
            "bytes": f"has {self.value:,.0f} bytes, `max_bytes` allows {self.limit:,.0f}",
            "latency": f"takes {self.value:.3f} ms an image here, `max_latency_ms` allows {self.limit:.3f}",
        }
        return texts[self.name]


def check_gates(
    limits: Limits, *, drops: Mapping[str, float], class_drop: float, agreement: float, size: int, latency_ms: float
) -> tuple[Gate, ...]:
    """Every gate that is asked for.

    Args:
        limits: what is asked.
        drops: of the task's metrics, by their names as people read them, the first of them the gate "drop"; a share.
        class_drop, agreement: shares, against float32.
        size: bytes.
        latency_ms: median of one call.
    """

    def gates() -> Iterator[Gate]:
        if limits.max_drop is not None:
            for place, (metric, drop) in enumerate(drops.items()):
                name = f"{metric.lower().replace(' ', '-')}-drop" if place else "drop"
                yield Gate(name, drop, limits.max_drop, drop <= limits.max_drop + _HAIR, metric)
        for name, value, limit in (
            ("class-drop", class_drop, limits.max_class_drop),
            ("bytes", size, limits.max_bytes),
            ("latency", latency_ms, limits.max_latency_ms),
        ):
            if limit is not None:
                yield Gate(name, value, limit, value <= limit + _HAIR)
        if limits.min_agreement is not None:
            yield Gate("agreement", agreement, limits.min_agreement, agreement >= limits.min_agreement - _HAIR)

    return tuple(gates())
