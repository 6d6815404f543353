"""The file of a device profile: what is written comes back, and nothing damaged is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.device_profile.format import ProfileError, parse_profile, read_profile
from tests.support.profiles import made_profile

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found = json.loads(made_profile().to_json())
    # A part of the probes is enough here, and changes quickly.
    found["probes"] = found["probes"][:3]
    for setting in found["settings"]:
        setting |= {name: setting[name][:3] for name in ("times_ms", "grown_bytes")}
    assert isinstance(found, dict)
    return found


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    profile = made_profile(without="MEAN")
    profile.write(tmp_path / "a.json")
    assert read_profile(tmp_path / "a.json") == profile


def test_equal_operators_are_counted(document: dict[str, Any]) -> None:
    assert [len(probe["operators"]) for probe in document["probes"]] == [1, 1, 1]
    profile = parse_profile(json.dumps(document).encode())
    assert {len(probe.operators) for probe in profile.probes} <= {2, 4}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("version",), 2, "a profile of version 2, and this Pocketlens reads 1; measure the device again"),
        (("format",), "other", "no device profile; name a file that"),
        (("device",), "", "damaged: device is no text"),
        (("device",), "a\x1b[31m", "damaged: device is no text"),
        (("processors",), 0, "processors is 0"),
        (("processors",), True, "processors is True"),
        (("extra",), 1, "its fields are"),
        (("probes",), [], "probes is no list"),
        (("probes", 0, "name"), 7, "name is no text"),
        (("probes", 0, "operators", 0, "count"), 10**9, "too many operators"),
        (("probes", 0, "operators", 0, "count"), 0, "count is 0"),
        (("probes", 0, "operators", 0, "inputs"), [[-1]], "a shape is no list"),
        (("probes", 0, "operators", 0, "inputs"), [["a"]], "a shape is no list"),
        (("probes", 0, "operators", 0, "multiply_adds"), 1.5, "multiply_adds is 1.5"),
        (("probes", 0, "operators", 0, "more"), 1, "an operator has other fields"),
        (("settings",), [], "settings is no list"),
        (("settings", 0, "interpreter"), "tensorflow", "interpreter is 'tensorflow', expected tflite_runtime or"),
        (("settings", 0, "interpreter"), [], "interpreter is []"),
        (("settings", 0, "threads"), 2, "two settings are the same"),
        (("settings", 0, "times_ms"), [1.0], "times_ms is no list of 3 to 3 entries"),
        (("settings", 0, "times_ms", 0), 0, "a time is 0"),
        (("settings", 0, "times_ms", 0), float("nan"), "a time is nan"),
        (("settings", 0, "times_ms", 0), 1e-300, "a time is 1e-300"),
        (("probes", 0, "operators", 0, "inputs"), [[2**40]], "a shape is no list"),
        (("settings", 0, "grown_bytes"), [], "grown_bytes is no list of 3 to 3 entries"),
        (("settings", 0, "grown_bytes", 1), 1.5, "a size is 1.5"),
        (("probes", 0, "arena_bytes"), -1, "arena_bytes is -1"),
        (("settings", 0, "times_ms"), [None, None, None], "a setting has no times"),
    ],
)
def test_a_damaged_profile_is_one_line(
    document: dict[str, Any], path: tuple[Any, ...], value: object, words: str
) -> None:
    changed = json.loads(json.dumps(document))
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ProfileError) as caught:
        parse_profile(json.dumps(changed).encode(), "p.json")
    message = str(caught.value)
    assert message.startswith("p.json: ")
    assert words in message
    assert "\n" not in message
    assert ";" in message  # the cure


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"null", b'{"format": {}}'])
def test_what_is_no_profile(content: bytes) -> None:
    with pytest.raises(ProfileError, match=r"^profile: (not JSON|no device profile); "):
        parse_profile(content)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot be opened"):
        read_profile(tmp_path / "none.json")
