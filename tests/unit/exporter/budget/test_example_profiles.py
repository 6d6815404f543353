"""The profiles in `examples/` are read, and a file can be predicted with each."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.budget.predict import Predictor
from runtime.device_profile.format import read_profile
from runtime.device_profile.probes import all_probes
from runtime.diagnostics import TINY_MODEL

pytestmark = pytest.mark.fast

PROFILES = sorted((Path(__file__).parents[4] / "examples/profiles").glob("*.json"))


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_profile_is_read_and_predicts(path: Path) -> None:
    profile = read_profile(path)
    assert path.stem.startswith("emulated") == ("emulated" in profile.device)
    found = Predictor(profile).predict(TINY_MODEL.read_bytes())
    assert found.known_latency_ms() > 0
    assert found.arena_bytes > 10_000


def test_there_are_three_and_they_have_today_s_probes() -> None:
    assert [path.stem for path in PROFILES] == ["emulated-arm64", "emulated-armhf", "workstation"]
    names = [probe.name for probe in all_probes()]
    # Those of the emulated devices are older than the probes with float16 weights.
    older = [name for name in names if not name.endswith("FLOAT16")]
    assert all([probe.name for probe in read_profile(path).probes] in (names, older) for path in PROFILES)
