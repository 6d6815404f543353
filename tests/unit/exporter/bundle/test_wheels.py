"""What pip chooses for another machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.bundle.own_wheel import own_wheel
from exporter.bundle.targets import DEVICE_TARGETS, DeviceTarget
from exporter.bundle.wheels import BundleError, Wheel, find_wheels
from tests.support.bundles import stub_wheel

pytestmark = pytest.mark.fast


def test_a_newer_python_gets_the_newer_interpreter(wheel: Path) -> None:
    """The markers are the device's: the Python that runs pip may be another one."""
    wheels = {one.name: one for one in find_wheels(own_wheel(wheel), DEVICE_TARGETS["rpi-trixie-arm64"])}
    assert {*wheels} == {"ai-edge-litert", "click", "numpy", "pillow", "pip", "pocketlens"}
    assert wheels["ai-edge-litert"].file.endswith("cp313-cp313-manylinux_2_27_aarch64.whl")
    assert wheels["numpy"].version == "2.1.0"
    assert all(one.requirement.endswith(f"--hash=sha256:{one.sha256}") for one in wheels.values())


def test_packages_of_the_system_are_not_fetched_and_extras_are(wheel: Path) -> None:
    """Debian's numpy and Pillow satisfy what our package asks for, so no wheel of them is wanted."""
    target = DEVICE_TARGETS["rpi-bookworm-armhf"]
    wheels = {one.name: one.file for one in find_wheels(own_wheel(wheel), target, ("camera", "mqtt"))}
    assert {*wheels} == {"click", "linuxpy", "paho-mqtt", "pip", "pocketlens", "tflite-runtime"}
    assert wheels["tflite-runtime"].endswith("cp311-cp311-manylinux_2_34_armv7l.whl")


def test_versions_can_be_chosen(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "versions.txt").write_text("pillow==10.0\n")
    with pytest.raises(BundleError, match=r"^no versions fit together for linux-x86_64: .*pillow==10\.0"):
        find_wheels(own_wheel(wheel), DEVICE_TARGETS["linux-x86_64"], constraint=tmp_path / "versions.txt")


def test_a_wheel_that_is_nowhere_is_named(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    expected = r"^pip: no wheel for linux-x86_64 \(Python 3\.12, x86_64, glibc 2\.28\) on the package index"
    with pytest.raises(BundleError, match=expected):
        find_wheels(own_wheel(wheel), DEVICE_TARGETS["linux-x86_64"])


def test_an_index_that_does_not_answer_is_named(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setattr("exporter.bundle.wheels._RETRIES", 1)
    with pytest.raises(BundleError, match=r"the package index does not answer; connect this machine, or"):
        find_wheels(own_wheel(wheel), DEVICE_TARGETS["linux-x86_64"])


@pytest.mark.parametrize(
    ("tags", "glibc"),
    [
        ("cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64", (2, 17)),
        ("cp313-cp313-manylinux_2_27_aarch64.manylinux_2_28_aarch64", (2, 27)),
        ("cp310-abi3-manylinux2014_x86_64", (2, 17)),
        ("py3-none-any", (0, 0)),
    ],
)
def test_the_oldest_c_library_that_a_wheel_runs_on(tags: str, glibc: tuple[int, int]) -> None:
    assert Wheel("some", "1", f"some-1-{tags}.whl", b"").glibc == glibc


def test_the_size_of_what_is_installed() -> None:
    file, content = stub_wheel("numpy", "1.26.4", "py3-none-any")
    assert 0 < Wheel("numpy", "1.26.4", file, content).installed_bytes < len(content)


def test_pip_that_is_missing_is_named(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target: DeviceTarget = DEVICE_TARGETS["linux-x86_64"]
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(BundleError, match=r"pip is not installed beside .*-m ensurepip"):
        find_wheels(own_wheel(wheel), target)
