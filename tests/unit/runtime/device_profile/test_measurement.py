"""The probes are models that interpreters run, and a device is measured with them."""

from __future__ import annotations

import json
import os
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from click.testing import CliRunner

from runtime import interpreter
from runtime.child_process import ChildError
from runtime.cli.bench import bench
from runtime.device_profile import measurement
from runtime.device_profile.format import DeviceProfile, read_profile
from runtime.device_profile.measurement import (
    allocated_bytes,
    measure_device,
    measure_probes_here,
    ready_call,
    seconds_a_call,
)
from runtime.device_profile.probes import Probe, all_probes, count_probes
from runtime.errors import InterpreterError
from runtime.tflite.model import check_structure
from tests.support.profiles import made_profile

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def probes() -> list[Probe]:
    return list(all_probes())


def test_the_probes_are_models_of_which_nothing_is_strange(probes: list[Probe]) -> None:
    assert len({probe.name for probe in probes}) == len(probes) == count_probes()
    for probe in probes:
        structure = check_structure(probe.content, probe.name)
        assert not structure.strange, (probe.name, structure.strange)
        assert not structure.unbounded


def test_an_interpreter_runs_every_probe(probes: list[Probe]) -> None:
    library = interpreter.choose()
    for probe in probes:
        ready_call(probe.content, library)()


def test_each_operator_of_our_networks_is_probed_in_both_types(probes: list[Probe]) -> None:
    found = Counter((one.name, one.type) for probe in probes for one in probe.operators)
    wanted = "CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED MAX_POOL_2D AVERAGE_POOL_2D ADD SUB MUL MEAN PAD SOFTMAX TANH"
    assert {(name, kind) for name in wanted.split() for kind in ("INT8", "FLOAT32")} <= set(found)
    assert {("QUANTIZE", "INT8"), ("QUANTIZE", "UINT8"), ("DEQUANTIZE", "FLOAT32")} <= set(found)


def test_a_probe_repeats_its_operator(probes: list[Probe]) -> None:
    probe = next(probe for probe in probes if probe.name.startswith("CONV_2D 28x28x8 8x3x3"))
    (operator,) = set(probe.operators)
    assert len(probe.operators) == 4
    assert operator.multiply_adds == 28 * 28 * 8 * 8 * 9


def test_probes_are_measured_here(monkeypatch: pytest.MonkeyPatch, probes: list[Probe]) -> None:
    some = [*probes[:2], Probe("refused", (), 0, 0, b"no model at all")]
    monkeypatch.setattr(measurement, "all_probes", lambda: iter(some))
    found = measure_probes_here(interpreter.choose(), 1)
    assert found[2] == (None, None)
    assert all(time is not None and 1e-4 < time < 1000 for time, _ in found[:2])
    if allocated_bytes() is not None:
        # Its tensors, and what an interpreter needs beside them.
        sizes = [(grown or 0) / probe.arena_bytes for probe, (_, grown) in zip(probes[:2], found[:2], strict=True)]
        assert all(1 < size < 20 for size in sizes), sizes


def test_allocated_bytes_are_counted() -> None:
    before = allocated_bytes()
    if before is None:
        pytest.skip("this C library has no mallinfo2")
    block = bytearray(10**6)
    assert 10**6 <= (allocated_bytes() or 0) - before < 1.1 * 10**6
    del block


def test_the_fastest_batch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0, 1, *(time for lasts in (3, 1, 9) for time in (0, lasts))])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    assert seconds_a_call(lambda: None) == 1


def test_a_device_is_measured_with_each_interpreter_and_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def call(function: str, library: str, threads: int, **_: object) -> list[list[float]]:
        calls.append((library, threads))
        if threads == 2:
            raise ChildError("its process died of SIGILL", -4)
        return [[1.0, 1000]] * 3

    monkeypatch.setattr(measurement, "call_in_child", call)
    monkeypatch.setattr(measurement, "all_probes", lambda: iter(islice(all_probes(), 3)))
    profile = measure_device(2, "kitchen")
    assert calls == [(library, threads) for library in interpreter.installed() for threads in (1, 2)]
    assert [setting.threads for setting in profile.settings] == [1] * len(interpreter.installed())
    assert (profile.device, profile.processors) == ("kitchen", os.cpu_count())
    assert measure_device(1).device


def test_a_device_on_which_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(*_: object, **__: object) -> list[float]:
        raise ChildError("its process died of SIGILL", -4)

    monkeypatch.setattr(measurement, "call_in_child", call)
    monkeypatch.setattr(measurement, "all_probes", lambda: iter(islice(all_probes(), 3)))
    with pytest.raises(InterpreterError, match=r"no probe could be measured: .*SIGILL"):
        measure_device(1)


def test_bench_writes_a_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def measured(max_threads: int, device: str) -> DeviceProfile:
        return made_profile(threads=range(1, max_threads + 1), without="MEAN")._replace(device=device or "a board")

    monkeypatch.setattr(measurement, "measure_device", measured)
    path = tmp_path / "pi.json"
    arguments = ["--profile", str(path), "--max-threads", "2"]
    done = CliRunner().invoke(bench, [*arguments, "--device", "door"])
    assert done.exit_code == 0, done.output
    assert "is the profile of door" in " ".join(done.output.split())
    assert read_profile(path).device == "door"
    found = json.loads(CliRunner().invoke(bench, [*arguments, "--json"]).stdout)
    assert found["device"] == "a board"
    assert [(row["interpreter"], row["threads"]) for row in found["settings"]] == [
        ("tflite_runtime", n) for n in (1, 2)
    ]
    assert all(row["probes"] + row["refused"] == count_probes() and row["refused"] for row in found["settings"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--profile", "p.json", "m.tflite"], "leave m.tflite out"),
        (["--profile", "p.json", "--image", "a.jpg"], "leave --image out"),
        (["--profile", "p.json", "--labels", "a.txt"], "leave --labels out"),
        (["--profile", "none/p.json"], "there is no folder none"),
        (["--device", "door", "m.tflite"], "add --profile FILE"),
        ([], "name a .tflite file, or --profile FILE"),
    ],
)
def test_what_does_not_go_with_a_profile(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(bench, arguments)
    assert (done.exit_code, words in " ".join(done.output.split())) == (2, True), done.output


def test_some_networks_have_weights_that_are_dequantized(probes: list[Probe]) -> None:
    found = [probe for probe in probes if probe.name.endswith("with weights FLOAT16")]
    assert len(found) == 7
    for probe in found:
        first, *others = probe.operators
        assert (first.name, first.bytes_read, first.bytes_written) == ("DEQUANTIZE", 0, 2 * first.weight_bytes)
        plain = next(one for one in probes if f"{one.name} with weights FLOAT16" == probe.name)
        # What is computed once is no part of a call.
        assert [one for one in others if one.name != "DEQUANTIZE"] == list(plain.operators)
        assert (probe.tensor_bytes, probe.arena_bytes) == (plain.tensor_bytes, plain.arena_bytes)


def test_the_probes_come_one_by_one() -> None:
    assert len(list(islice(all_probes(), 2))) == 2
