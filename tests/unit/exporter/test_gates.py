from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from exporter.budget.predict import CostPrediction
from exporter.gates import Gate, Limits, MeasuredSamples, check_gates
from runtime import Contract, ImageInput
from runtime.device_profile.format import ProfileError
from trainer.evaluation.corruptions import VERSIONS
from trainer.evaluation.robustness import measure_robustness

pytestmark = pytest.mark.fast

FOUND: dict[str, Any] = {
    "accuracy": 0.9,
    "drops": {"accuracy": 0.02},
    "class_drop": 0.1,
    "agreement": 0.97,
    "size": 1000,
    "latency_ms": 2.5,
}


def names(limits: Limits, *, passed: bool) -> list[str]:
    return [gate.name for gate in check_gates(limits, **FOUND) if gate.passed == passed]


@pytest.mark.parametrize(
    ("option", "kept", "broken", "name"),
    [
        ("max_drop", 0.02, 0.019, "drop"),
        ("max_class_drop", 0.1, 0.099, "class-drop"),
        ("min_agreement", 0.97, 0.971, "agreement"),
        ("max_bytes", 1000, 999, "bytes"),
        ("max_latency_ms", 2.5, 2.4, "latency"),
        ("min_accuracy", 0.9, 0.901, "accuracy"),
    ],
)
def test_each_gate_by_itself(option: str, kept: float, broken: float, name: str) -> None:
    none = Limits(max_drop=None)
    assert check_gates(none, **FOUND) == ()
    only: dict[str, Any] = {"max_drop": None}
    assert names(Limits(**{**only, option: kept}), passed=True) == [name]
    assert names(Limits(**{**only, option: broken}), passed=False) == [name]


def test_a_limit_of_nothing_is_a_limit() -> None:
    assert names(Limits(max_drop=None, min_agreement=0.0), passed=True) == ["agreement"]
    assert names(Limits(max_drop=None, max_bytes=0), passed=False) == ["bytes"]


def test_the_default_is_one_point_of_accuracy() -> None:
    assert names(Limits(), passed=False) == ["drop"]


def test_all_that_fail_are_named() -> None:
    strict = Limits(0.0, 0.0, 1.0, 1, 0.1)
    assert names(strict, passed=False) == ["drop", "class-drop", "bytes", "latency", "agreement"]


def test_binary_fractions_do_not_fail_a_gate() -> None:
    found = {**FOUND, "drops": {"accuracy": 0.97 - 0.96}}
    assert all(gate.passed for gate in check_gates(Limits(max_drop=0.01), **found))


def test_a_gate_says_what_was_found_and_what_was_allowed() -> None:
    drop = Gate("drop", 0.0312, 0.01, False, "accuracy")
    assert drop.describe() == "loses 3.12 points of accuracy, `max_drop` allows 1.00"
    assert Gate("latency", 3.0, 2.0, False).describe() == "takes 3.000 ms a call here, `max_latency_ms` allows 2.000"


def test_a_latency_is_not_in_the_report() -> None:
    assert Gate("latency", 3.0, 2.0, False).as_dict() == {"name": "latency", "limit": 2.0, "passed": False}
    assert Gate("bytes", 3, 2, False).as_dict()["value"] == 3


def test_with_a_profile_the_gates_are_on_the_prediction() -> None:
    cost = CostPrediction("a board", "tflite_runtime", 1, 25.0, 20.0, 30.0, 7000, 3000)
    limits = Limits(max_drop=None, max_latency_ms=20.0, max_memory=9999)
    latency, memory = check_gates(limits, **FOUND, cost=cost)
    assert (latency.name, latency.passed) == ("predicted-latency", False)
    assert latency.describe() == "takes a predicted 25 ms an invocation on the device, `max_latency_ms` allows 20"
    assert latency.as_dict()["value"] == 25.0
    assert (memory.name, memory.passed, memory.value) == ("predicted-memory", False, 10_000)
    assert memory.describe() == "takes a predicted 10,000 bytes of memory on the device, `max_memory` allows 9,999"
    assert all(
        gate.passed for gate in check_gates(Limits(None, max_latency_ms=25.0, max_memory=10_000), **FOUND, cost=cost)
    )
    unknown = replace(cost, latency_ms=None, unknown_operators=("MEAN INT8",))
    with pytest.raises(ProfileError, match="the time on a board cannot be predicted: not measured there: MEAN INT8"):
        check_gates(limits, **FOUND, cost=unknown)
    assert check_gates(Limits(None), **FOUND, cost=unknown) == ()


def test_every_metric_of_a_task_is_gated() -> None:
    found = {**FOUND, "drops": {"accuracy": 0.0, "ROC AUC": 0.02}}
    gates = check_gates(Limits(max_drop=0.01), **found)
    assert [(gate.name, gate.passed) for gate in gates] == [("drop", True), ("roc-auc-drop", False)]
    assert gates[1].describe() == "loses 2.00 points of ROC AUC, `max_drop` allows 1.00"
    assert (gates[1].as_dict()["metric"], gates[1].as_dict()["value"]) == ("ROC AUC", 0.02)


def test_a_least_accuracy_is_in_the_report_only_if_there_is_one() -> None:
    assert "min_accuracy" not in Limits().as_dict()
    assert Limits(min_accuracy=0.95).as_dict()["min_accuracy"] == 0.95
    (gate,) = check_gates(Limits(max_drop=None, min_accuracy=0.95), **FOUND)
    assert gate.describe() == "has 0.9000 of accuracy, `min_accuracy` asks 0.9500"


def test_a_least_robustness_is_checked_where_it_was_measured() -> None:
    scores = np.eye(2, dtype=np.float32)[np.zeros((4, VERSIONS), int)]
    scores[:2, 1:10] = [0, 1]
    contract = Contract(("a", "b"), ImageInput(8, 8, "grey"))
    found = measure_robustness(scores, np.zeros(4, np.int32), contract, total=4, seed=0)
    assert found.mean == 0.9
    limits = Limits(max_drop=None, min_robustness=0.9)
    assert limits.as_dict()["min_robustness"] == 0.9
    assert "min_robustness" not in Limits().as_dict()
    assert check_gates(limits, **FOUND) == ()  # a repair is tried on validation images, without corruptions
    (gate,) = check_gates(limits, **FOUND, robustness=found)
    assert gate.passed
    (gate,) = check_gates(Limits(max_drop=None, min_robustness=0.91), **FOUND, robustness=found)
    assert (gate.name, gate.passed) == ("robustness", False)
    assert gate.describe() == "has a mean corruption accuracy of 0.9000, `min_robustness` asks 0.9100"


def failed_drop(drop: float, samples: MeasuredSamples, limits: Limits) -> Gate:
    gates = check_gates(
        limits,
        accuracy=0.9,
        drops={"accuracy": drop},
        class_drop=drop,
        agreement=1,
        size=1,
        latency_ms=1,
        samples=samples,
    )
    (gate,) = (gate for gate in gates if not gate.passed)
    return gate


def test_a_drop_of_one_image_of_a_small_split_says_so_and_what_to_do() -> None:
    gate = failed_drop(1 / 64, MeasuredSamples(64, 8, "images", 1.0), Limits(max_drop=0.01))
    chance = "1 of 64 test images; with fewer than 300 a drop of 1 point cannot be told from chance"
    assert gate.describe() == (
        f"loses 1.56 points of accuracy, `max_drop` allows 1.00: {chance}; add test samples, cross-validate with other "
        "seeds, or raise `max_drop`"
    )
    assert gate.as_dict()["remark"] == chance
    assert gate.as_dict()["text"] == f"loses 1.56 points of accuracy, the gate allows 1.00: {chance}"


def test_a_class_of_few_vectors_says_so() -> None:
    limits = Limits(max_drop=None, max_class_drop=0.05)
    gate = failed_drop(1 / 8, MeasuredSamples(64, 8, "vectors", 1.0), limits)
    assert "1 of 8 test vectors of that class; with fewer than 60 a drop of 5 points cannot" in gate.describe()
    assert gate.describe().endswith("or raise `max_class_drop`")


def test_a_clear_drop_needs_no_remark_and_an_unclear_one_has_its_probability() -> None:
    clear = failed_drop(0.02, MeasuredSamples(5000, 500, "images", 1e-9), Limits())
    assert clear.remark == ""
    assert "remark" not in clear.as_dict()
    unclear = failed_drop(0.0125, MeasuredSamples(400, 40, "images", 0.0625), Limits())
    assert "5 of 400 test images; chance alone gives such a difference with probability 0.062" in unclear.describe()
    assert failed_drop(0.01, MeasuredSamples(100, 10, "images", 1.0), Limits(max_drop=0.0)).remark
