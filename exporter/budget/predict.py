"""Predicts what a model file will cost on a device, from the device's profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from runtime.benchmark import best_combination
from runtime.device_profile.format import DeviceProfile, ProfileError, Setting
from runtime.interpreter import LIBRARIES
from runtime.tflite.workload import Workload, read_workload

from .latency import LatencyModel, fit_latency
from .memory import MemoryModel, fit_memory
from .regression import timed_operators


@dataclass(frozen=True)
class CostPrediction:
    """What a model file will cost on a device; all of it is predicted, but for `file_bytes`.

    Attributes:
        device: the device's name.
        interpreter, threads: how the device would run it.
        latency_ms: the ms of one invocation. Reading and scaling the picture come on top. None if the device has
            not measured an operator of the file.
        low_ms, high_ms: the interval in which it lies with a probability of 90 %.
        arena_bytes: what the interpreter allocates: the memory of the tensors, copies of weights, and tables.
        file_bytes: the size of the file.
        unknown_operators: the operators that the device has not measured, such as "CONV_2D FLOAT32 with weights INT8".
    """

    device: str
    interpreter: str
    threads: int
    latency_ms: float | None
    low_ms: float | None
    high_ms: float | None
    arena_bytes: int
    file_bytes: int
    unknown_operators: tuple[str, ...] = ()

    @property
    def memory_bytes(self) -> int:
        """What the model adds to a process: the file, and what the interpreter allocates."""
        return self.file_bytes + self.arena_bytes

    def known_latency_ms(self) -> float:
        """The ms of one invocation.

        Raises:
            ProfileError: the device has not measured an operator of the file.
        """
        if self.latency_ms is None:
            raise ProfileError(
                f"the time on {self.device} cannot be predicted: not measured there: "
                f"{', '.join(self.unknown_operators)}; measure it with a newer Pocketlens or choose another mode"
            )
        return self.latency_ms

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "memory_bytes": self.memory_bytes, "unknown_operators": list(self.unknown_operators)}


def cost_in_words(found: Mapping[str, Any]) -> tuple[str, str, str]:
    """The predicted time and memory of a file, and the device, from `CostPrediction.as_dict`."""
    if found["latency_ms"] is None:
        time = f"unknown, since {', '.join(found['unknown_operators'])} was not measured there"
    else:
        time = f"{found['latency_ms']:.3g} ms ({found['low_ms']:.3g} to {found['high_ms']:.3g})"
    threads = f"{found['threads']} thread{'s' * (found['threads'] != 1)}"
    where = f"{found['device']} with {LIBRARIES[found['interpreter']]}, {threads}"
    return time, f"{found['memory_bytes']:,} bytes", where


class Predictor:
    """Predicts for one device.

    Args:
        profile: the device's.
        interpreter: the interpreter library that it will use, one of `runtime.interpreter.LIBRARIES`; by default the
            fastest for each model.
        threads: the threads of one invocation; by default the fastest, where more threads must save 15 % of the time.

    Raises:
        ProfileError: the profile has no such interpreter or number of threads.
    """

    def __init__(self, profile: DeviceProfile, interpreter: str | None = None, threads: int | None = None) -> None:
        self._device = profile.device
        chosen = [
            setting
            for setting in profile.settings
            if interpreter in (None, setting.interpreter) and threads in (None, setting.threads)
        ]
        if not chosen:
            wanted = f"{LIBRARIES[interpreter]} " if interpreter in LIBRARIES else ""
            wanted += f"with {threads} threads" if threads else ""
            has = "; ".join(setting.describe() for setting in profile.settings)
            raise ProfileError(
                f"the profile of {profile.device} has no times of {wanted.strip() or interpreter}, but of: {has}; "
                "choose one of these, or measure the device again"
            )
        self._models = [(one, fit_latency(profile, one), fit_memory(profile, one)) for one in chosen]

    def predict(self, content: bytes, name: str = "model") -> CostPrediction:
        """What a file will cost.

        Args:
            content: the model file.
            name: the file's name, for messages.

        Raises:
            ModelFileError: it is damaged, or no TensorFlow Lite model.
        """
        work = read_workload(content, name)
        found = [self._with(setting, times, sizes, work, len(content)) for setting, times, sizes in self._models]
        known = [one for one in found if one.latency_ms is not None]
        return _fastest(known) if known else min(found, key=lambda one: len(one.unknown_operators))

    def _with(
        self, setting: Setting, times: LatencyModel, sizes: MemoryModel, work: Workload, file_bytes: int
    ) -> CostPrediction:
        operators = list(timed_operators(work))
        unknown = tuple(sorted({" ".join(kind) for kind, _ in operators if not times.milliseconds.knows(kind)}))
        latency = None if unknown else times.milliseconds.predict(operators)
        return CostPrediction(
            device=self._device,
            interpreter=setting.interpreter,
            threads=setting.threads,
            latency_ms=latency,
            low_ms=None if latency is None else latency * times.low,
            high_ms=None if latency is None else latency * times.high,
            arena_bytes=sizes.predict_bytes(work),
            file_bytes=file_bytes,
            unknown_operators=unknown,
        )


def _fastest(predictions: Sequence[CostPrediction]) -> CostPrediction:
    """The one that `pocketlens bench` would recommend on the device."""
    rows = [
        {
            "interpreter": one.interpreter,
            "threads": one.threads,
            "call_ms": {"median": one.latency_ms},
            "prediction": one,
        }
        for one in predictions
    ]
    best = best_combination(rows)
    assert best is not None
    found: CostPrediction = best["prediction"]
    return found
