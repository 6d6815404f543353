"""The cost of a candidate on a device, predicted from the device's profile."""

from __future__ import annotations

from runtime.device_profile.format import DeviceProfile

from ..budget.predict import Predictor
from .budget import Cost


class ProfileCost:
    """The cost of model files on one device: a `budget.CostModel`.

    Args:
        profile, interpreter, threads: as for `exporter.budget.predict.Predictor`; by default the fastest for each file.

    Raises:
        ProfileError: the profile has no such interpreter or number of threads.
    """

    def __init__(self, profile: DeviceProfile, interpreter: str | None = None, threads: int | None = None) -> None:
        self._predictor = Predictor(profile, interpreter, threads)

    def cost_of(self, content: bytes) -> Cost:
        """The size of a file, and the predicted time and memory.

        Raises:
            ModelFileError: the file is damaged.
            ProfileError: it has an operator that the device has not measured.
        """
        found = self._predictor.predict(content)
        return Cost(found.file_bytes, found.known_latency_ms(), found.memory_bytes)
