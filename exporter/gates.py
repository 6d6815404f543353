"""The gates: limits that a model must keep to be published."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.evaluation.robustness import Robustness

    from .budget.predict import CostPrediction

#: The tolerance of comparisons: 0.97 - 0.96 is a little more than 0.01 in binary.
_TOLERANCE = 1e-9
#: A difference with a smaller p-value is hardly chance.
_CLEAR = 0.05


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
        max_latency_ms: the median time of one call on this machine, decoding included; with a device's profile, the
            predicted time of one invocation there.
        min_accuracy: the accuracy that a model must have, 0 to 1; for multilabel the mean average precision.
        min_robustness: the mean of that figure over all corruptions and severities, 0 to 1.
        max_memory: the predicted bytes of the file and the interpreter's tensors on a device, which needs its profile.
    """

    max_drop: float | None = 0.01
    max_class_drop: float | None = None
    min_agreement: float | None = None
    max_bytes: int | None = None
    max_latency_ms: float | None = None
    min_accuracy: float | None = None
    min_robustness: float | None = None
    max_memory: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON; the newer limits only if there is one, since older reports do not have them."""
        newer = ("min_accuracy", "min_robustness", "max_memory")
        return {name: value for name, value in asdict(self).items() if value is not None or name not in newer}


#: The gates that a repair can make a file pass. Size and latency are excluded: every repair increases both.
REPAIRABLE = {"drop", "roc-auc-drop", "f1-drop", "class-drop", "agreement", "accuracy"}


@dataclass(frozen=True)
class Gate:
    """One gate, and the model's value for it.

    Attributes:
        name: "drop", "class-drop", "agreement", "bytes", "latency", "predicted-latency", "predicted-memory",
            "accuracy" or "robustness"; "roc-auc-drop" and
            "f1-drop" for the further metrics that `Limits.max_drop` applies to; or a doubt of `plausibility`.
        value: the model's value.
        limit: the limit.
        passed: whether the value is within the limit.
        metric: the metric of a drop, a least accuracy or robustness, as people read it; "" for the other gates.
        reason: the reason of a doubt of `plausibility`, as a clause; "" for the other gates.
        remark: why a failed drop may be chance, as a clause; "" where it is clear.
    """

    name: str
    value: float
    limit: float
    passed: bool
    metric: str = ""
    reason: str = ""
    remark: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For `report.json`; without the value of a latency, which is never the same twice.

        A failed gate also has `text`: the finding in words, without a parameter to change.
        """
        found = asdict(self)
        if self.name == "latency":
            del found["value"]
        for name in ("metric", "reason", "remark"):
            if not found[name]:
                del found[name]
        if not self.passed and self.name != "latency":
            finding = self.reason or re.sub(r"`\w+` (allows|asks)", r"the gate \1", self._finding())
            found["text"] = f"{finding}: {self.remark}" if self.remark else finding
        return found

    def describe(self) -> str:
        """One clause for people, with what to do; shares are in points."""
        if self.reason:
            return f"{self.reason}; `accept_low_accuracy` publishes it all the same"
        if not self.remark:
            return self._finding()
        parameter = "max_class_drop" if self.name == "class-drop" else "max_drop"
        return (
            f"{self._finding()}: {self.remark}; add test samples, cross-validate with other seeds, or raise "
            f"`{parameter}`"
        )

    def _finding(self) -> str:
        if self.name == "accuracy":
            return f"has {self.value:.4f} of {self.metric}, `min_accuracy` asks {self.limit:.4f}"
        if self.name == "robustness":
            return f"has a {self.metric} of {self.value:.4f}, `min_robustness` asks {self.limit:.4f}"
        if self.metric:
            return f"loses {100 * self.value:.2f} points of {self.metric}, `max_drop` allows {100 * self.limit:.2f}"
        texts = {
            "class-drop": f"one class loses {100 * self.value:.2f} points, `max_class_drop` allows "
            f"{100 * self.limit:.2f}",
            "agreement": f"answers as float32 on a share of {self.value:.4f}, `min_agreement` asks {self.limit:.4f}",
            "bytes": f"has {self.value:,.0f} bytes, `max_bytes` allows {self.limit:,.0f}",
            "latency": f"takes {self.value:.3f} ms a call here, `max_latency_ms` allows {self.limit:.3f}",
            "predicted-latency": f"takes a predicted {self.value:.3g} ms an invocation on the device, `max_latency_ms` "
            f"allows {self.limit:g}",
            "predicted-memory": f"takes a predicted {self.value:,.0f} bytes of memory on the device, `max_memory` "
            f"allows {self.limit:,.0f}",
        }
        return texts[self.name]


@dataclass(frozen=True)
class MeasuredSamples:
    """The samples that a drop was measured on, for the question whether it may be chance.

    Attributes:
        count: of the test split.
        class_count: of the class that lost most.
        noun: "images" or "vectors".
        p_value: McNemar's, of the difference in accuracy.
        counts_predictions: whether a class's drop is a count of samples, and not of average precision.
    """

    count: int
    class_count: int
    noun: str
    p_value: float
    counts_predictions: bool = True

    def remark(self, drop: float, limit: float, of_class: bool, counted: bool) -> str:
        """Why a drop above its limit may be chance; "" if it hardly is.

        If no sample at all of n is lost, the drop is still below 3 / n only with a probability of 95 % (the rule of
        three), so that fewer than 3 / limit samples cannot show that a model keeps the limit.

        Source: J. A. Hanley, A. Lippman-Hand, If nothing goes wrong, is everything all right?, JAMA 249, 1983.

        Args:
            of_class: whether it is the drop of the class that lost most.
            counted: whether the drop is a share of the samples.
        """
        count = self.class_count if of_class else self.count
        where = f"{count:,} test {self.noun}{' of that class' if of_class else ''}"
        if counted and (self.counts_predictions or not of_class):
            where = f"{round(drop * count):,} of {where}"
        least = math.ceil(3 / limit - _TOLERANCE) if limit > 0 else 0
        if count < least:
            points = f"{100 * limit:g} point{'s' * (round(100 * limit, 6) != 1)}"
            return f"{where}; with fewer than {least:,} a drop of {points} cannot be told from chance"
        if counted and not of_class and self.p_value > _CLEAR:
            return f"{where}; chance alone gives such a difference with probability {self.p_value:.2g}"
        return ""


def check_gates(
    limits: Limits,
    *,
    accuracy: float,
    drops: Mapping[str, float],
    class_drop: float,
    agreement: float,
    size: int,
    latency_ms: float,
    samples: MeasuredSamples | None = None,
    robustness: Robustness | None = None,
    cost: CostPrediction | None = None,
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
        samples: what the drops were measured on; None if a failed gate needs no remark on chance.
        robustness: the figures under corruptions; without them there is no gate on them.
        cost: what it will cost on a device; then the gate on the latency is on this prediction.

    Raises:
        ProfileError: there is a limit of the latency, and the device has not measured an operator of the model.
    """

    def remark(drop: float, limit: float, of_class: bool = False, counted: bool = True) -> str:
        failed = drop > limit + _TOLERANCE
        return samples.remark(drop, limit, of_class, counted) if failed and samples is not None else ""

    def gates() -> Iterator[Gate]:
        if limits.max_drop is not None:
            for place, (metric, drop) in enumerate(drops.items()):
                name = f"{metric.lower().replace(' ', '-')}-drop" if place else "drop"
                passed = drop <= limits.max_drop + _TOLERANCE
                counted = metric == "accuracy"
                yield Gate(
                    name, drop, limits.max_drop, passed, metric, remark=remark(drop, limits.max_drop, counted=counted)
                )
        if limits.max_class_drop is not None:
            passed = class_drop <= limits.max_class_drop + _TOLERANCE
            chance = remark(class_drop, limits.max_class_drop, of_class=True)
            yield Gate("class-drop", class_drop, limits.max_class_drop, passed, remark=chance)
        under_corruptions: tuple[float, float | None, str] = (0.0, None, "")
        if robustness is not None:
            under_corruptions = (robustness.mean, limits.min_robustness, robustness.title)
        for name, (value, limit, metric), is_least in (
            ("bytes", (size, limits.max_bytes, ""), False),
            _latency(latency_ms, limits, cost),
            ("predicted-memory", (0 if cost is None else cost.memory_bytes, limits.max_memory, ""), False),
            ("agreement", (agreement, limits.min_agreement, ""), True),
            ("accuracy", (accuracy, limits.min_accuracy, next(iter(drops))), True),
            ("robustness", under_corruptions, True),
        ):
            if limit is not None:
                passed = value >= limit - _TOLERANCE if is_least else value <= limit + _TOLERANCE
                yield Gate(name, value, limit, passed, metric)

    return tuple(gates())


def _latency(
    measured_ms: float, limits: Limits, cost: CostPrediction | None
) -> tuple[str, tuple[float, float | None, str], bool]:
    if cost is None or limits.max_latency_ms is None:
        return "latency", (measured_ms, limits.max_latency_ms, ""), False
    return "predicted-latency", (cost.known_latency_ms(), limits.max_latency_ms, ""), False
