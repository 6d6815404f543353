"""A profile of a device that exists nowhere: the time of each operator follows from a rule that tests know."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from runtime.device_profile.format import DeviceProfile, Setting
from runtime.device_profile.probes import Probe, all_probes
from runtime.tflite.workload import OperatorWork

#: The ms of a call around the operators.
CALL_MS = 0.002


def operator_ms(work: OperatorWork) -> float:
    """The ms of an operator on the device of `made_profile`."""
    moved = work.bytes_read + work.bytes_written + work.weight_bytes
    return 0.0005 + 1e-7 * work.multiply_adds + 2e-7 * moved


def extra_bytes(operators: Sequence[OperatorWork]) -> int:
    """What an interpreter on that device allocates beside the tensors; it keeps nothing of what is dequantized."""
    return 100_000 + sum(2000 + 2 * one.weight_bytes for one in operators if one.bytes_read)


def made_profile(
    threads: Sequence[int] = (1, 2), interpreter: str = "tflite_runtime", without: str = "", slower: float = 1.0
) -> DeviceProfile:
    """The profile of a device on which two threads take 0.7 of the time of one.

    Args:
        threads: the settings.
        without: an operator that the interpreter refuses.
        slower: a factor of all times.
    """
    probes = _probes()
    settings = []
    for count in threads:
        factor = slower * 0.7 ** (count - 1)
        times = tuple(
            None
            if any(one.name == without for one in probe.operators)
            else round(factor * (CALL_MS + sum(map(operator_ms, probe.operators))), 6)
            for probe in probes
        )
        sizes = tuple(
            None if time is None else probe.arena_bytes + extra_bytes(probe.operators)
            for probe, time in zip(probes, times, strict=True)
        )
        settings.append(Setting(interpreter, "2.14.0", count, times, sizes))
    return DeviceProfile("a board", "aarch64", 4, "0.0", probes, tuple(settings))


@cache
def _probes() -> tuple[Probe, ...]:
    return tuple(probe._replace(content=b"") for probe in all_probes())
