"""The gates: limits that a model must keep to be published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

#: The tolerance of comparisons: 0.97 - 0.96 is a little more than 0.01 in binary.
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Limits:
    """The limits; `None` where there is no gate.

    Attributes:
        max_drop: the accuracy that a model may lose against float32, 0 to 1. For the task binary it applies to ROC AUC
            too; for multilabel to mean average precision and F1 instead.
        max_class_drop: the recall that any one class may lose against float32, 0 to 1; for multilabel the average
            precision.
        min_agreement: the share of test images for which a model predicts the same label as float32, 0 to 1; for
            multilabel, the same labels.
        max_bytes: the size of the file.
        max_latency_ms: the median time of one call on this machine, decoding included.
        min_accuracy: the accuracy that a model must have, 0 to 1; for multilabel the mean average precision.
    """

    max_drop: float | None = 0.01
    max_class_drop: float | None = None
    min_agreement: float | None = None
    max_bytes: int | None = None
    max_latency_ms: float | None = None
    min_accuracy: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `min_accuracy` only if there is one, since older reports do not have it."""
        limits = asdict(self)
        if self.min_accuracy is None:
            del limits["min_accuracy"]
        return limits


#: The gates that a repair can make a file pass. Size and latency are excluded: every repair increases both.
REPAIRABLE = {"drop", "roc-auc-drop", "f1-drop", "class-drop", "agreement", "accuracy"}


@dataclass(frozen=True)
class Gate:
    """One gate, and the model's value for it.

    Attributes:
        name: "drop", "class-drop", "agreement", "bytes", "latency" or "accuracy"; "roc-auc-drop" and "f1-drop" for the
            further metrics that `Limits.max_drop` applies to; or a doubt of `plausibility`.
        value: the model's value.
        limit: the limit.
        passed: whether the value is within the limit.
        metric: the metric of a drop or of a least accuracy, as people read it; "" for the other gates.
        reason: the reason of a doubt of `plausibility`, as a clause; "" for the other gates.
    """

    name: str
    value: float
    limit: float
    passed: bool
    metric: str = ""
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For `report.json`; without the value of a latency, which is never the same twice."""
        found = asdict(self)
        if self.name == "latency":
            del found["value"]
        for name in ("metric", "reason"):
            if not found[name]:
                del found[name]
        return found

    def describe(self) -> str:
        """One clause for people; shares are in points."""
        if self.reason:
            return f"{self.reason}; `accept_low_accuracy` publishes it all the same"
        if self.name == "accuracy":
            return f"has {self.value:.4f} of {self.metric}, `min_accuracy` asks {self.limit:.4f}"
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
    limits: Limits,
    *,
    accuracy: float,
    drops: Mapping[str, float],
    class_drop: float,
    agreement: float,
    size: int,
    latency_ms: float,
) -> tuple[Gate, ...]:
    """Check every gate that has a limit.

    Args:
        limits: the limits.
        accuracy: the value of the first of the task's metrics.
        drops: what each of the task's metrics loses, a share, by the metric's name as people read it. The first is the
            gate "drop".
        class_drop, agreement: shares, against float32.
        size: of the file, in bytes.
        latency_ms: the median time of one call.
    """

    def gates() -> Iterator[Gate]:
        if limits.max_drop is not None:
            for place, (metric, drop) in enumerate(drops.items()):
                name = f"{metric.lower().replace(' ', '-')}-drop" if place else "drop"
                yield Gate(name, drop, limits.max_drop, drop <= limits.max_drop + _TOLERANCE, metric)
        for name, value, limit in (
            ("class-drop", class_drop, limits.max_class_drop),
            ("bytes", size, limits.max_bytes),
            ("latency", latency_ms, limits.max_latency_ms),
        ):
            if limit is not None:
                yield Gate(name, value, limit, value <= limit + _TOLERANCE)
        if limits.min_agreement is not None:
            yield Gate("agreement", agreement, limits.min_agreement, agreement >= limits.min_agreement - _TOLERANCE)
        if limits.min_accuracy is not None:
            passed = accuracy >= limits.min_accuracy - _TOLERANCE
            yield Gate("accuracy", accuracy, limits.min_accuracy, passed, next(iter(drops)))

    return tuple(gates())
