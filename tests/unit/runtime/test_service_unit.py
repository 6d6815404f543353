"""Units of systemd: what the words and paths become, what is hidden, and what systemd itself says of them."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import UsageError
from runtime.service_unit import (
    Credential,
    ServiceError,
    ServicePlan,
    check_access,
    check_service_name,
    program_folders,
    program_words,
    quoted_word,
    unit_text,
)

pytestmark = pytest.mark.fast

#: The score of `systemd-analyze security` that a system service stays below, times ten.
MAX_EXPOSURE = 40


def plan(name: str = "door", **values: Any) -> ServicePlan:
    base = ServicePlan(name, (sys.executable, "-c", "pass"))
    return base._replace(**values)


def lines(text: str) -> list[str]:
    return text.splitlines()


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("--model", "--model"),
        ("", '""'),
        ("a b", '"a b"'),
        ('say "x"', '"say \\"x\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ("{label}", '"{label}"'),
        ("line\nbreak", '"line\\x0abreak"'),
        (";", '";"'),
        ("Tür", '"Tür"'),
    ],
)
def test_words_are_quoted_for_systemd(word: str, quoted: str) -> None:
    assert quoted_word(word) == quoted


@pytest.mark.parametrize("name", ["", "Door", "-door", "../door", "a" * 49, "a b", "door.service"])
def test_a_name_that_is_no_unit_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="such as door"):
        check_service_name(name)


def test_a_system_service_sees_only_what_it_was_given() -> None:
    text = unit_text(plan(reads=(Path("/home/pi/int8.tflite"), Path("/srv/other.tflite")), writes=(Path("/srv/out"),)))
    found = lines(text)
    for line in ("DynamicUser=yes", "ProtectSystem=strict", "ProtectHome=tmpfs", "PrivateDevices=yes", "Type=notify"):
        assert line in found
    assert "BindReadOnlyPaths=/home/pi/int8.tflite" in found
    assert "BindReadOnlyPaths=/srv/other.tflite" not in found
    assert "ReadWritePaths=/srv/out" in found
    assert "PrivateNetwork=yes" not in found
    assert "PrivateNetwork=yes" in lines(unit_text(plan(network=False)))


def test_an_own_service_asks_for_nothing_that_only_root_may_do() -> None:
    found = lines(unit_text(plan(own_account=True)))
    assert not [line for line in found if line.startswith(("Protect", "Private", "Dynamic", "Bind", "Capability"))]
    assert "NoNewPrivileges=yes" in found
    assert "WantedBy=default.target" in found


def test_a_camera_brings_its_devices_and_its_group() -> None:
    found = lines(unit_text(plan(devices=(Path("/dev/video9"),), has_camera=True)))
    assert "SupplementaryGroups=video" in found
    assert {"DeviceAllow=/dev/video9 rw", "DeviceAllow=char-media rw", "DevicePolicy=closed"} <= {*found}
    assert "PrivateDevices=yes" not in found


def test_the_service_is_started_again_after_any_number_of_failures() -> None:
    """By default systemd gives up after five in ten seconds, such as starts without a card that is not mounted yet."""
    unit = configparser.ConfigParser(strict=False)
    unit.read_string(unit_text(plan()))
    assert unit["Service"]["Restart"] == "always"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"


def test_waits_grow_where_systemd_can() -> None:
    assert "RestartMaxDelaySec=300" in lines(unit_text(plan(systemd_version=257)))
    old = lines(unit_text(plan(systemd_version=252)))
    assert "RestartSec=10" in old
    assert "RestartMaxDelaySec=300" not in old


def test_files_that_the_account_may_not_use_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.service_unit.program_folders", lambda: ())
    secret = tmp_path / "secret.tflite"
    secret.touch(0o600)
    with pytest.raises(ServiceError, match=r"may not read it \(mode 600\).*`run_as`"):
        check_access(plan(reads=(secret,)))
    with pytest.raises(ServiceError, match="No such file"):
        check_access(plan(reads=(tmp_path / "missing",)))
    with pytest.raises(ServiceError, match="may not write"):
        check_access(plan(writes=(tmp_path,)))
    check_access(plan(reads=(secret,), run_as="pi"))
    check_access(plan(reads=(secret,), own_account=True))


def test_what_runs_the_command_is_this_python() -> None:
    done = subprocess.run([*program_words(), "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("pocketlens")
    assert any(Path(program_words()[0]).is_relative_to(folder) for folder in program_folders())


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"reads": (Path("/home/pi/a b:c%d.tflite"),), "writes": (Path("/srv/x"),)},
        {"devices": (Path("/dev/null"),), "has_camera": True, "runs_programs": True},
        {"binds_low_port": True, "run_as": "daemon", "environment_file": Path("/etc/a b.env")},
        {"words": (sys.executable, "--token", Credential(Path("/etc/50% token"), "token"))},
        {"network": False, "words": (sys.executable, "-c", "x = '100% $HOME \\' # \"\n;")},
    ],
    ids=["plain", "paths", "camera", "account", "secret", "odd words"],
)
def test_systemd_accepts_the_unit_and_finds_it_safe(values: dict[str, Any], tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing; Debian has it in the package systemd")
    unit = tmp_path / "pocketlens-door.service"
    unit.write_text(unit_text(plan(**values)))
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    verified = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60, env=environment, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={MAX_EXPOSURE}", str(unit)]
    safe = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert safe.returncode == 0, safe.stdout + safe.stderr
    assert "Overall exposure level" in safe.stdout
