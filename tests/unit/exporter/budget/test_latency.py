"""Predictions on a device that exists nowhere, whose times follow from a rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from exporter.budget.latency import fit_latency
from exporter.budget.memory import fit_memory
from exporter.budget.predict import Predictor, cost_in_words
from exporter.budget.regression import Features, fit_sum, timed_operators
from exporter.search.budget import Budget, Cost
from exporter.search.profile_cost import ProfileCost
from runtime.device_profile.format import ProfileError
from runtime.device_profile.probe_network import ProbeNetwork
from runtime.diagnostics import TINY_MODEL
from runtime.errors import ModelFileError
from runtime.tflite.arena import arena_bytes
from runtime.tflite.graph import GraphTensor, TensorInfo
from runtime.tflite.workload import OperatorWork, Workload, read_workload
from tests.support.profiles import CALL_MS, extra_bytes, made_profile, operator_ms

pytestmark = pytest.mark.fast


def network(kind: str, filters: int = 20, side: int = 26) -> bytes:
    """A network that is none of the probes."""
    built = ProbeNetwork(kind)
    x = built.pool(built.convolution(built.given((1, side, side, 3)), filters))
    return built.content([built.dense(built.mean(built.convolution(x, 2 * filters)), 7, relu=False)])


def true_ms(content: bytes) -> float:
    return CALL_MS + sum(operator_ms(one) for one in read_workload(content).operators)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(made_profile())


@pytest.mark.parametrize("kind", ["INT8", "FLOAT32"])
@pytest.mark.parametrize("filters", [5, 20, 40])
def test_the_rule_of_a_device_is_found(predictor: Predictor, kind: str, filters: int) -> None:
    content = network(kind, filters)
    found = predictor.predict(content)
    # Two threads take 0.7 of the time of one there, which is worth it.
    assert (found.threads, found.latency_ms) == (2, pytest.approx(0.7 * true_ms(content), rel=0.02))
    assert found.low_ms is not None
    assert found.high_ms is not None
    assert found.latency_ms is not None
    assert found.low_ms <= found.latency_ms <= found.high_ms < 1.1 * found.latency_ms
    assert found.file_bytes == len(content)
    work = read_workload(content)
    expected = arena_bytes(work) + extra_bytes(work.operators)
    assert found.arena_bytes == pytest.approx(expected, rel=0.05)
    assert found.memory_bytes == len(content) + found.arena_bytes


def test_the_setting_can_be_chosen() -> None:
    content = network("INT8")
    one = Predictor(made_profile(), "tflite_runtime", 1).predict(content)
    assert (one.threads, one.latency_ms) == (1, pytest.approx(true_ms(content), rel=0.02))
    message = r"of a board has no times of ai-edge-litert, but of: tflite-runtime, 1 thread; tflite-runtime, 2 threads;"
    with pytest.raises(ProfileError, match=message):
        Predictor(made_profile(), "ai_edge_litert")
    with pytest.raises(ProfileError, match="no times of with 4 threads"):
        Predictor(made_profile(), threads=4)


def test_more_threads_must_be_worth_it() -> None:
    profile = made_profile((1,))
    (alone,) = profile.settings
    times = tuple(None if time is None else 0.9 * time for time in alone.times_ms)
    both = profile._replace(settings=(alone, alone._replace(threads=2, times_ms=times)))
    assert Predictor(both).predict(network("INT8")).threads == 1


def test_an_operator_that_was_not_measured_is_named() -> None:
    content = network("FLOAT32")
    found = Predictor(made_profile(without="MEAN")).predict(content)
    assert (found.latency_ms, found.unknown_operators) == (None, ("MEAN FLOAT32",))
    assert cost_in_words(found.as_dict())[0] == "unknown, since MEAN FLOAT32 was not measured there"
    with pytest.raises(ProfileError, match=r"not measured there: MEAN FLOAT32; measure it"):
        ProfileCost(made_profile(without="MEAN")).cost_of(content)


def test_constants_are_computed_once_and_weights_of_another_type_are_another_kind() -> None:
    def tensor(kind: str, constant: bool = False) -> GraphTensor:
        return GraphTensor(TensorInfo("", (2, 2), (2, 2), kind, (), ()), constant, False)

    def operator(name: str, reads: tuple[int, ...], writes: int) -> OperatorWork:
        shapes = ((2, 2),) * len(reads)
        return OperatorWork(name, "FLOAT32", reads, (writes,), shapes, ((2, 2),), 0, 16 * len(reads), 0, 0)

    tensors = (*(tensor("FLOAT32") for _ in range(4)), tensor("FLOAT16", True), tensor("INT8", True))
    dense = "FULLY_CONNECTED"
    work = Workload(
        (operator("DEQUANTIZE", (4,), 1), operator(dense, (0, 1), 2), operator(dense, (2, 5), 3)),
        tensors,
        (0,),
        (3,),
        0,
    )
    (first, second), (kind, _) = timed_operators(work)
    assert (first, kind) == ((dense, "FLOAT32"), (dense, "FLOAT32 with weights INT8"))
    # The dequantized weights are weights, and nothing that is read in each call.
    assert (second.bytes_read, second.weight_bytes) == (16, 16)


def test_the_interval_is_wide_where_networks_differ_from_operators() -> None:
    profile = made_profile((1,))
    (setting,) = profile.settings
    model = fit_latency(profile, setting)
    assert 0.95 < model.low <= 1 <= model.high < 1.05
    times = tuple(
        None if time is None else time * (1.5 if "network" in probe.name and index % 2 else 1)
        for index, (probe, time) in enumerate(zip(profile.probes, setting.times_ms, strict=True))
    )
    assert fit_latency(profile, setting._replace(times_ms=times)).high > 1.2


def test_a_device_that_copies_no_windows_and_one_that_counts_no_memory() -> None:
    profile, work = made_profile((1,)), read_workload(network("INT8"))
    (setting,) = profile.settings
    sizes = tuple(probe.tensor_bytes + extra_bytes(probe.operators) for probe in profile.probes)
    found = fit_memory(profile, setting._replace(grown_bytes=sizes))
    assert not found.copies_windows
    expected = arena_bytes(work, copies_windows=False) + extra_bytes(work.operators)
    assert found.predict_bytes(work) == pytest.approx(expected, rel=0.05)
    nothing = fit_memory(profile, setting._replace(grown_bytes=(None,) * len(sizes)))
    assert nothing.predict_bytes(work) == arena_bytes(work) > arena_bytes(work, copies_windows=False)


def test_dequantized_weights_are_kept_in_one_block_that_doubles_or_not_at_all() -> None:
    built = ProbeNetwork("FLOAT32", weights="FLOAT16")
    x = built.mean(built.convolution(built.given((1, 20, 20, 3)), 24))
    work = read_workload(built.content([built.dense(x, 3000, relu=False)]))
    plain = arena_bytes(work) + 100_000 + 3 * 2000 + 2 * 4 * (24 * 27 + 24 + 2 + 3000 * 24 + 3000)

    def block(operators: Sequence[OperatorWork]) -> int:
        size = capacity = 0
        for one in operators:
            if one.bytes_read == 0:
                added = -(-one.bytes_written // 16) * 16
                capacity = max(capacity, size + max(size, added) if size + added > capacity else 0)
                size += added
        return capacity

    profile = made_profile((1,))
    (setting,) = profile.settings
    assert fit_memory(profile, setting).predict_bytes(work) == pytest.approx(plain, rel=0.02)
    sizes = [
        (size or 0) + block(probe.operators) for probe, size in zip(profile.probes, setting.grown_bytes, strict=True)
    ]
    kept = fit_memory(profile, setting._replace(grown_bytes=tuple(sizes)))
    # 2,592 bytes; 96 more double them; 288,000 do not fit into as much again, and the last 12,000 double all.
    assert kept.predict_bytes(work) == pytest.approx(plain + 2 * (2592 + 96 + 288_000), rel=0.02)
    # An older profile cannot say it, and the values alone count.
    older = [number for number, probe in enumerate(profile.probes) if not probe.name.endswith("FLOAT16")]
    kept = fit_memory(
        profile._replace(probes=tuple(profile.probes[number] for number in older)),
        setting._replace(times_ms=(None,) * len(older), grown_bytes=tuple(sizes[number] for number in older)),
    )
    assert kept.predict_bytes(work) == pytest.approx(plain + 2592 + 96 + 288_000 + 12_000, rel=0.02)


def test_memory_that_operators_use_in_turn_counts_once() -> None:
    def own(_: OperatorWork) -> list[float]:
        return [1.0]

    def shared(work: OperatorWork) -> list[float]:
        return [float(work.bytes_written)]

    def operators(*sizes: int) -> list[tuple[tuple[str, str], OperatorWork]]:
        return [(("A", "INT8"), OperatorWork("A", "INT8", (), (), (), (), 0, 0, size, 0)) for size in sizes]

    models = [operators(10, 40, 20), operators(30), operators(5, 5, 5), operators(70, 20), operators(8, 90)]
    # What is there grows by what an operator needs beyond it: 10 and then 40, or 70 alone.
    targets = np.array([3 * 2 + 50, 2 + 30, 3 * 2 + 5, 2 * 2 + 70, 2 * 2 + 98], float)
    found = fit_sum(models, targets, np.ones(len(models)), Features(own, shared))
    assert found.predict(operators(60, 1, 2)) == pytest.approx(3 * 2 + 60)
    assert not found.knows(("B", "INT8"))


def test_the_cost_in_a_search() -> None:
    content = network("INT8")
    cost = ProfileCost(made_profile(), threads=1).cost_of(content)
    found = Predictor(made_profile(), threads=1).predict(content)
    assert cost == Cost(len(content), found.latency_ms, found.memory_bytes)
    assert Budget(max_latency_ms=true_ms(content) * 1.1).fits(cost)
    assert not Budget(max_latency_ms=true_ms(content) * 0.9).fits(cost)
    assert "(predicted)" in cost.describe()


def test_a_damaged_file(predictor: Predictor) -> None:
    with pytest.raises(ModelFileError, match="damaged, or no TensorFlow Lite model"):
        predictor.predict(b"no model")


def test_in_words_and_for_json(predictor: Predictor) -> None:
    found = predictor.predict(TINY_MODEL.read_bytes())
    time, memory, where = cost_in_words(found.as_dict())
    assert (memory, where) == (f"{found.memory_bytes:,} bytes", "a board with tflite-runtime, 2 threads")
    assert time == f"{found.latency_ms:.3g} ms ({found.low_ms:.3g} to {found.high_ms:.3g})"
    assert set(found.as_dict()) == {
        *("device", "interpreter", "threads", "latency_ms", "low_ms", "high_ms"),
        *("arena_bytes", "file_bytes", "memory_bytes", "unknown_operators"),
    }
