"""What Linux says about the board and the processor of this machine."""

from __future__ import annotations

from pathlib import Path

BOARD, PROCESSOR = Path("/proc/device-tree/model"), Path("/proc/cpuinfo")


def board_model() -> str:
    """The board's model, such as "Raspberry Pi Zero 2 W Rev 1.0"; "" where the machine does not say."""
    try:
        return BOARD.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""


def processor_model() -> str:
    """The processor's model, such as "AMD EPYC"; "" where the machine does not say."""
    try:
        lines = PROCESSOR.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    named = (line.partition(":")[2].strip() for line in lines if line.lower().startswith(("model name", "hardware")))
    return next(filter(None, named), "")
