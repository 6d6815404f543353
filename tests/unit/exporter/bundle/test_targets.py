"""The devices that a bundle can be made for."""

from __future__ import annotations

import pytest

from exporter.bundle.targets import DEVICE_TARGETS, device_target
from runtime.errors import UsageError

pytestmark = pytest.mark.fast


def test_the_tags_of_a_platform_go_down_to_the_oldest() -> None:
    tags = DEVICE_TARGETS["rpi-bookworm-arm64"].platforms
    assert tags[0] == "manylinux_2_36_aarch64"
    # tflite-runtime's wheel for arm64 has this tag, which manylinux2014 does not include.
    assert {"manylinux_2_34_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64"} <= {*tags}
    assert "manylinux_2_36_aarch64" not in DEVICE_TARGETS["linux-x86_64"].platforms


def test_markers_are_those_of_the_device() -> None:
    markers = DEVICE_TARGETS["rpi-trixie-arm64"].markers
    assert (markers["python_version"], markers["platform_machine"], markers["sys_platform"]) == (
        "3.13",
        "aarch64",
        "linux",
    )


@pytest.mark.parametrize("name", DEVICE_TARGETS)
def test_each_target_names_python_glibc_and_sources(name: str) -> None:
    facts = DEVICE_TARGETS[name].as_dict()
    assert facts["python"].startswith("3.")
    assert facts["glibc"].startswith("2.")
    assert ("numpy" in facts["sources"]) == name.endswith("armhf")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("rpi-trixie-armhf", "no interpreter has wheels for 32-bit ARM and Python 3.12 or newer"),
        ("rpi-bullseye-arm64", "upgrade it to bookworm"),
        (
            "rpi-bookwurm-arm64",
            r"expected one of rpi-bookworm-arm64, .*linux-x86_64; did you mean 'rpi-bookworm-arm64'\?",
        ),
    ],
)
def test_a_target_that_cannot_be_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        device_target(name)


def test_only_linux_can_have_another_python() -> None:
    assert device_target("linux-x86_64", (3, 11)).interpreter == "tflite-runtime"
    assert device_target("rpi-trixie-arm64", (3, 13)).interpreter == "ai-edge-litert"
    with pytest.raises(UsageError, match=r"Raspberry Pi OS trixie, 64-bit has Python 3\.13; leave out `python`"):
        device_target("rpi-trixie-arm64", (3, 11))
