"""What Linux says of a machine: a board's model first, and a processor's in two spellings."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime import hardware

pytestmark = pytest.mark.fast


def test_a_board_says_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "model"
    monkeypatch.setattr(hardware, "BOARD", file)
    assert hardware.board_model() == ""
    file.write_bytes(b"Raspberry Pi Zero 2 W Rev 1.0\0")
    assert hardware.board_model() == "Raspberry Pi Zero 2 W Rev 1.0"


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC\n", "AMD EPYC"),
        ("processor\t: 0\nmodel name\t:\nHardware\t: BCM2835\n", "BCM2835"),
        ("processor\t: 0\n", ""),
    ],
)
def test_a_processor_says_its_model(text: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(hardware, "PROCESSOR", file)
    assert hardware.processor_model() == ""
    file.write_text(text, encoding="utf-8")
    assert hardware.processor_model() == model
