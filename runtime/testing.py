"""For testing scripts that classify, with no model and no interpreter at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .classifier import Classifier
from .contract import Contract
from .input_spec import FeaturesInput, ImageInput


class FakeInterpreter:
    """Stands in for a TensorFlow Lite interpreter: gives the answers that it was told, one after the other.

    Args:
        labels: the model's labels, two or more.
        answers: rows of scores, one number a label; after the last comes the first again.
        size: (height, width) of the pictures that it wants.
        colour: `"grey"`, `"rgb"` or `"bgr"`.
        features: names of the readings that it wants instead of a picture; none for pictures.

    Attributes:
        seen: the input tensors that it was given, float32, shape (1, height, width, channels) or (1, features).

    Raises:
        ContractError: labels or sizes that no contract can have.
        ValueError: a row of another length.

    Example:
        >>> fake = FakeInterpreter(["cat", "dog"], [[0.9, 0.1], [0.2, 0.8]])
        >>> classifier = fake.classifier()
        >>> picture = np.zeros((8, 8, 3), np.uint8)
        >>> [classifier.classify(picture)[0].label for _ in range(3)]
        ['cat', 'dog', 'cat']
        >>> fake.seen[0].shape
        (1, 8, 8, 3)
    """

    def __init__(
        self,
        labels: Sequence[str],
        answers: Sequence[Sequence[float]],
        size: tuple[int, int] = (8, 8),
        colour: str = "rgb",
        features: Sequence[str] = (),
    ) -> None:
        spec = FeaturesInput(tuple(features)) if features else ImageInput(*size, colour)
        self._contract = Contract(tuple(labels), spec)
        self._answers = [np.array([row], np.float32) for row in answers]
        if not self._answers or any(row.shape != (1, len(labels)) for row in self._answers):
            raise ValueError(f"answers must be one or more rows of {len(labels)} scores, one a label")
        self.seen: list[npt.NDArray[np.float32]] = []

    def classifier(self) -> Classifier:
        """A real classifier that has this in place of an interpreter."""
        return Classifier.from_interpreter(self._contract, lambda: self)

    def allocate_tensors(self) -> None:
        """Nothing to allocate."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """One float32 tensor."""
        return [_details("input", 0, (1, *self._contract.input.shape))]

    def get_output_details(self) -> list[dict[str, Any]]:
        """One float32 tensor."""
        return [_details("output", 1, (1, len(self._contract.labels)))]

    def set_tensor(self, index: int, value: Any) -> None:
        """Remember the input."""
        self.seen.append(np.array(value))

    def invoke(self) -> None:
        """Nothing to compute."""

    def get_tensor(self, index: int) -> Any:
        """The next answer."""
        return self._answers[(len(self.seen) - 1) % len(self._answers)].copy()


def _details(name: str, index: int, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"name": name, "index": index, "shape": shape, "dtype": np.float32, "quantization": (0.0, 0)}
