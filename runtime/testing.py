"""A fake interpreter for testing scripts that classify, without a model and without an interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .classifier import Classifier
from .contract import Contract
from .input_spec import FeaturesInput, ImageInput


class FakeInterpreter:
    """Replaces a TensorFlow Lite interpreter: gives rows of scores, one after the other.

    Args:
        labels: the model's labels, two or more.
        scores: rows of scores, one number a label; after the last row the first comes again.
        size: (height, width) of the images that it takes.
        colour: `"grey"`, `"rgb"` or `"bgr"`.
        features: names of the features that it takes instead of an image; by default it takes images.

    Attributes:
        inputs: the input tensors so far, float32, shape (1, height, width, channels) or (1, features).

    Raises:
        ContractError: no contract can have these labels or sizes.
        ValueError: there is no row, or a row has a wrong length.

    Example:
        >>> fake = FakeInterpreter(["cat", "dog"], [[0.9, 0.1], [0.2, 0.8]])
        >>> classifier = fake.classifier()
        >>> picture = np.zeros((8, 8, 3), np.uint8)
        >>> [classifier.classify(picture)[0].label for _ in range(3)]
        ['cat', 'dog', 'cat']
        >>> fake.inputs[0].shape
        (1, 8, 8, 3)
    """

    def __init__(
        self,
        labels: Sequence[str],
        scores: Sequence[Sequence[float]],
        size: tuple[int, int] = (8, 8),
        colour: str = "rgb",
        features: Sequence[str] = (),
    ) -> None:
        spec = FeaturesInput(tuple(features)) if features else ImageInput(*size, colour)
        self._contract = Contract(tuple(labels), spec)
        self._scores = [np.array([row], np.float32) for row in scores]
        if not self._scores or any(row.shape != (1, len(labels)) for row in self._scores):
            raise ValueError(f"scores must be one or more rows of {len(labels)} scores, one a label")
        self.inputs: list[npt.NDArray[np.float32]] = []

    def classifier(self) -> Classifier:
        """A real classifier that uses this interpreter."""
        return Classifier.from_interpreter(self._contract, lambda: self)

    def allocate_tensors(self) -> None:
        """Do nothing."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """One float32 tensor."""
        return [_details("input", 0, (1, *self._contract.input.shape))]

    def get_output_details(self) -> list[dict[str, Any]]:
        """One float32 tensor."""
        return [_details("output", 1, (1, len(self._contract.labels)))]

    def set_tensor(self, index: int, value: Any) -> None:
        """Keep the input."""
        self.inputs.append(np.array(value))

    def invoke(self) -> None:
        """Do nothing."""

    def get_tensor(self, index: int) -> Any:
        """The next row of scores."""
        return self._scores[(len(self.inputs) - 1) % len(self._scores)].copy()


def _details(name: str, index: int, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"name": name, "index": index, "shape": shape, "dtype": np.float32, "quantization": (0.0, 0)}
