"""A model is tried in a child process, and the verdict is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import Classifier, Contract, ImageInput, InterpreterError, ModelFileError
from runtime.cache import cache_folder
from runtime.external import sandbox as trial
from runtime.external.sandbox import trust, try_model
from runtime.interpreter import choose, installed
from tests.support.external_models import LABELS, changed, converted

#: A FlatBuffer whose root lies far outside; interpreters that do not verify it read there.
KILLER = b"\x10\xff\xff\x7fTFL3" + bytes(64)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("POCKETLENS_CACHE", str(folder))
    monkeypatch.setattr(trial, "_known", {})
    return folder


@pytest.fixture
def no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each further trial fail the test."""

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr(trial, "_known", {})
    monkeypatch.setattr(subprocess, "run", refuse)


def _spin(*_arguments: object) -> None:
    while True:
        pass


def _wait(*_arguments: object) -> None:
    time.sleep(60)


def kept(cache: Path) -> list[Path]:
    return sorted((cache / "trials").iterdir())


@pytest.mark.parametrize("library", installed())
def test_a_good_model_is_tried_once_for_each_interpreter(
    library: str, cache: Path, request: pytest.FixtureRequest
) -> None:
    assert try_model(converted(), library) == (True, "", None)
    (place,) = kept(cache)
    assert library in place.name
    assert json.loads(place.read_text()) == {"format": trial.VERDICT_FORMAT, "good": True, "reason": ""}
    request.getfixturevalue("no_child")
    assert try_model(converted(), library) == (True, "", place)


@pytest.mark.parametrize("library", installed())
def test_a_killer_ends_the_child_only(library: str, cache: Path) -> None:
    verdict = try_model(KILLER, library)
    assert not verdict.good
    with pytest.raises(ModelFileError, match=r"bad.tflite: tried in a process of its own.*export it again"):
        trust(KILLER, "bad.tflite", library)
    trial._known.clear()
    with pytest.raises(ModelFileError) as caught:
        trust(KILLER, "bad.tflite", library)
    assert str(caught.value).endswith(f"to have it tried again, remove {kept(cache)[0]}")


def test_a_signal_is_a_verdict_and_being_killed_from_outside_is_none() -> None:
    import signal

    assert trial._died(signal.SIGSEGV) == (False, "it ended that process with SIGSEGV", None)
    assert "processor time" in trial._died(signal.SIGXCPU).reason
    with pytest.raises(InterpreterError, match="SIGKILL; is memory short"):
        trial._died(signal.SIGKILL)


def test_weights_that_are_no_numbers_are_found() -> None:
    def damage(model: Any) -> None:
        sizes = [len(b.data) if b.data is not None else 0 for b in model.buffers]
        model.buffers[int(np.argmax(sizes))].data = np.full(max(sizes) // 4, np.nan, np.float32).view(np.uint8)

    assert try_model(changed(converted(), damage)).reason == "its answer is not a number"


def test_an_operator_that_is_lacking_is_found() -> None:
    def newer(model: Any) -> None:
        model.operatorCodes[0].version = 35

    assert "lacks an operator" in try_model(changed(converted(), newer)).reason


def test_a_model_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(trial, "_TRIAL", f"{__name__}:_spin")
    monkeypatch.setattr(trial, "LIMITS", trial.LIMITS._replace(cpu_seconds=1))
    verdict = try_model(converted())
    assert (verdict.good, "processor time" in verdict.reason) == (False, True)
    assert len(kept(cache)) == 1


def test_a_machine_too_busy_is_no_verdict(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(trial, "_TRIAL", f"{__name__}:_wait")
    monkeypatch.setattr(trial, "TIMEOUT_S", 0.2)
    with pytest.raises(InterpreterError, match=r"no answer within 0\.2 s; is this machine busy"):
        try_model(converted())
    assert not cache.exists()


def test_what_is_not_the_models_fault_is_no_verdict(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    with pytest.raises(InterpreterError, match=r"delegate nothing\.so: cannot be loaded"):
        try_model(converted(), delegate="nothing.so")
    monkeypatch.setattr(sys, "executable", "/no/python")
    # Under qemu Python 3.13 learns of it from the status of the child that it has started.
    with pytest.raises(InterpreterError, match=r"/no/python cannot be started|its process ended with status 127"):
        try_model(converted())
    assert not cache.exists()


@pytest.mark.parametrize(
    "damage",
    [
        *(b"", b"\0\xff", b"{", b"[1]", b"null", b"[" * 9999),
        b'{"format": 99, "good": true, "reason": ""}',
        b'{"format": 1, "good": "yes", "reason": ""}',
        b'{"format": 1, "good": true, "reason": "x"}',
    ],
)
def test_a_damaged_entry_counts_as_none(damage: bytes, cache: Path) -> None:
    (cache / "trials").mkdir(parents=True)
    place = cache / "trials" / f"{trial._key(converted(), choose(), None)}.json"
    place.write_bytes(damage)
    assert trial._read(place) is None


def test_a_cache_that_cannot_be_written_costs_a_trial_a_process(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write_text("a file where the folder should be")
    assert try_model(converted()).good
    monkeypatch.setattr(subprocess, "run", None)  # a second child would fail
    assert try_model(converted()).good


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    assert cache_folder() == cache
    monkeypatch.delenv("POCKETLENS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/pocketlens")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder() == Path("/home/someone/.cache/pocketlens")


def test_the_child_reads_nothing_of_ours(tmp_path: Path) -> None:
    """The child gets neither the user's standard input nor modules from the working folder."""
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    path = tmp_path / "model.tflite"
    path.write_bytes(converted())
    code = (
        "import sys; sys.path.remove(''); from runtime import Classifier\n"
        f"Classifier({str(path)!r}, labels={list(LABELS)!r}, mean=0, std=255)\nprint(sys.stdin.read())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        input="for the user",
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "for the user", done.stderr


def test_the_classifier_refuses_what_failed_its_trial() -> None:
    def newer(model: Any) -> None:
        model.operatorCodes[0].version = 35

    with pytest.raises(ModelFileError, match=r"tried in a process of its own, and .*lacks an operator"):
        Classifier(changed(converted(), newer), labels=LABELS, mean=0, std=255)


def test_a_model_that_relies_on_its_preprocessing_is_tried_through_it(cache: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    keras = tf.keras
    inputs = keras.Input((8, 8, 3), batch_size=1)
    answer = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(keras.ops.sqrt(inputs)))
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, answer))
    content = converter.convert()
    contract = Contract(("a", "b", "c"), ImageInput(8, 8, "rgb", mean=(0,) * 3, std=(255,) * 3))
    assert try_model(content, contract=contract).good
    below = Contract(("a", "b", "c"), ImageInput(8, 8, "rgb", mean=(127.5,) * 3, std=(127.5,) * 3))
    assert try_model(content, contract=below).reason == "its answer is not a number"
    assert len(kept(cache)) == 2
