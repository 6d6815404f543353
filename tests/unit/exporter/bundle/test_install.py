"""The installer: on this machine, with stand-ins of the packages and a real Python."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from exporter.bundle import check_device
from exporter.bundle.wheels import Wheel
from tests.support.bundles import (
    needs_this_machine,
    run_installer,
    small_bundle,
    start_installer,
    this_machine,
    unpacked,
)
from tests.support.slots import slot_model
from tests.support.updates import Publisher

pytestmark = [pytest.mark.fast, needs_this_machine]


@pytest.fixture(scope="module")
def folders(wheels: list[Wheel], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Unpacked bundles of one name: a good one, and one whose model fails its self-test."""
    base = tmp_path_factory.mktemp("bundles")
    found = {}
    for name, wrong in (("good", False), ("bad", True)):
        root = None if wrong else Publisher(base / "published").folder / "metadata" / "root.json"
        bundle = small_bundle(slot_model(wrong_selftest=wrong), base / name, wheels, root=root)
        found[name] = unpacked(bundle, base / name / "unpacked")
    return found


def tree(prefix: Path) -> list[str]:
    return sorted(path.relative_to(prefix).as_posix() for path in (*prefix.glob("*"), *prefix.glob("releases/*")))


def test_an_installation_answers_stays_and_is_replaced_only_by_one_that_works(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    prefix = tmp_path / "door"
    done = run_installer(folders["good"], prefix)
    assert done.returncode == 0, done.stderr
    assert f"installed: {prefix}/bin/pocketlens, with the model {prefix}/current/model.tflite" in done.stdout
    assert "passed: 2 images" in done.stdout  # the self-test
    assert f"for updates: {prefix}/bin/pocketlens update --root {prefix}/current/root.json" in done.stdout
    assert (prefix / "current/root.json").read_bytes() == (folders["good"] / "root.json").read_bytes()
    # A unit that the installed command writes names the link, which outlives this release, and the bundle's model.
    command = (
        prefix / "bin/pocketlens",
        "service",
        "install",
        "--name",
        "door",
        "--print",
        "--",
        "live",
        "/dev/video0",
    )
    unit = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    start = f"{prefix}/current/env/bin/pocketlens live /dev/video0 --model {prefix}/current/model.tflite"
    assert f"ExecStart={start}" in unit
    before = tree(prefix)
    # A kill leaves a half-made release and link; the next start removes them. The same bundle again changes nothing.
    (prefix / "releases" / "half").mkdir()
    (prefix / ".new-current").symlink_to("releases/half")
    again = run_installer(folders["good"], prefix)
    assert again.returncode == 0, again.stderr
    assert f"this bundle is installed already in {prefix}, and works" in again.stdout
    assert tree(prefix) == before
    # A model that does not answer here as on the workstation: the earlier installation stays.
    broken = run_installer(folders["bad"], prefix)
    assert broken.returncode == 1
    assert "FAILED" in broken.stdout
    assert broken.stderr.splitlines()[-2:] == [
        "error: the installation does not work here, see above",
        f"undone: the earlier installation in {prefix} stays as it was",
    ]
    assert tree(prefix) == before
    assert (prefix / "current" / "bundle.json").read_bytes() == (folders["good"] / "bundle.json").read_bytes()


@pytest.mark.slow
def test_an_installer_that_is_killed_leaves_one_installation_that_works(
    folders: dict[str, Path], wheels: list[Wheel], tmp_path: Path
) -> None:
    prefix = tmp_path / "door"
    other = unpacked(small_bundle(slot_model(2), tmp_path / "other", wheels), tmp_path / "other" / "unpacked")
    start = time.monotonic()
    assert run_installer(folders["good"], prefix).returncode == 0
    duration = time.monotonic() - start
    rng = random.Random(0)
    seen = Counter[str]()
    for number in range(20):
        folder = (other, folders["good"])[number % 2]
        process = start_installer(folder, prefix)
        with suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0, 1.2 * duration))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        installed = (prefix / "current" / "bundle.json").read_bytes()
        assert installed in {(found / "bundle.json").read_bytes() for found in (other, folders["good"])}
        seen["new" if installed == (folder / "bundle.json").read_bytes() else "old"] += 1
        model = prefix / "current" / "model.tflite"
        assert subprocess.run([prefix / "bin/pocketlens", "selftest", model], capture_output=True).returncode == 0
    print(f"installed after {seen.total()} kills: {dict(seen)}")
    assert seen["old"] >= 5
    assert run_installer(other, prefix).returncode == 0
    assert len([*(prefix / "releases").iterdir()]) <= 2
    assert not [*prefix.glob(".new-*")]


def test_what_fails_first_leaves_nothing(folders: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(folders["good"], tmp_path / "copy")
    (copy / "model.tflite").write_bytes(b"damaged")
    (copy / "labels.txt").unlink()
    done = run_installer(copy, tmp_path / "door")
    assert (done.returncode, done.stderr) == (
        1,
        "error: labels.txt model.tflite: damaged or missing; copy the bundle again\n",
    )
    odd = run_installer(folders["good"], tmp_path / "a door")
    assert (odd.returncode, "a prefix consists of letters" in odd.stderr) == (1, True)
    service = run_installer(folders["good"], tmp_path / "door", "--service")
    assert (service.returncode, service.stderr.splitlines()[0]) == (
        2,
        "error: this bundle holds no service; make one with: pocketlens bundle --service",
    )
    unknown = run_installer(folders["good"], tmp_path / "door", "--now")
    assert (unknown.returncode, "--now: no such option" in unknown.stderr) == (2, True)
    assert "usage: sh install.sh [--prefix DIR]" in run_installer(folders["good"], tmp_path / "door", "--help").stdout
    python = run_installer(folders["good"], tmp_path / "door", "--python", "/no/python")
    assert python.stderr == "error: /no/python: cannot be started as Python; give another --python\n"
    assert not (tmp_path / "door").exists()


def needs(**changes: object) -> dict[str, object]:
    target = this_machine()
    found = {
        "python": target.markers["python_version"],
        "machine": target.machine,
        "glibc": "2.17",
        "from_system": {},
        "installed_bytes": 1,
    }
    return found | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, ""),
        ({"python": "3.99"}, "and this bundle is for 3.99: name another by --python"),
        ({"machine": "aarch64"}, "this Python is for x86_64, and this bundle is for aarch64"),
        ({"glibc": "2.99"}, "and this bundle needs 2.99: upgrade the system"),
        ({"from_system": {"json": "a", "no_such": "python3-none"}}, "give: sudo apt install python3-none"),
        ({"installed_bytes": 10**18}, "MB are free, and the installation needs"),
    ],
)
def test_a_device_that_does_not_fit_is_told_in_one_line(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    found = check_device._problem(needs(**changes), str(tmp_path / "a" / "b"))
    assert (message in found) if message else not found
    assert "\n" not in found


def test_an_old_raspberry_pi_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "armv6l")
    assert "a Raspberry Pi 2 or newer is needed" in check_device._problem(needs(machine="armv7l"), "/")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("struct.calcsize", lambda _format: 4)
    assert check_device._problem(needs(machine="armv7l"), "/tmp") == ""


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_the_installer_is_clean_posix_shell(folders: dict[str, Path]) -> None:
    done = subprocess.run(["shellcheck", "--shell=sh", folders["good"] / "install.sh"], capture_output=True, text=True)
    assert done.stdout == ""


def test_a_service_is_in_the_bundle(wheels: list[Wheel], tmp_path: Path) -> None:
    unit = "# Written by `pocketlens service install`.\n[Service]\nExecStart=/opt/pocketlens-door/x\n"
    bundle = small_bundle(slot_model(), tmp_path, wheels, unit=unit)
    folder = unpacked(bundle, tmp_path / "unpacked")
    assert (folder / "pocketlens-door.service").read_text() == unit
    done = run_installer(folder, Path("/tmp/door"), "--service")
    assert (done.returncode, done.stderr) == (1, "error: a service cannot see /tmp/door; give another --prefix\n")
    damaged = folder / "bundle.json"
    damaged.write_text("{}")
    assert "bundle.json is damaged; copy the bundle again" in run_installer(folder, tmp_path / "door").stderr
