"""The classifier: feed, invoke, dequantize, rank."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from . import interpreter
from .contract import Contract
from .errors import InterpreterError, ModelFileError
from .images import ImageSource
from .model_file import ModelSource, read_model
from .prediction import Prediction, rank
from .preprocessing import Preprocessor, TensorSpec


class Classifier:
    """Classifies pictures with one model, float32, uint8 or int8, grey or colour, by the same call.

    Args:
        model: a path, a model file's bytes, or a binary file object. It is read once, into memory: replacing
            the file later changes nothing here.
        num_threads: threads of one invocation, at least 1; small models are fastest with 1.

    Raises:
        ModelFileError: missing, foreign, truncated or changed, or its tensors are not what its contract says.
        ContractError: its contract is one that this version cannot obey.
        InterpreterError: no interpreter that works is installed, or it refuses the model.

    Calls from several threads are safe, one after the other.

    Example:
        >>> classifier = Classifier("int8.tflite")              # doctest: +SKIP
        >>> classifier.classify("shoe.jpg")[0].label            # doctest: +SKIP
        'Sneaker'
    """

    def __init__(self, model: ModelSource, *, num_threads: int = 1) -> None:
        if not isinstance(num_threads, int) or num_threads < 1:
            raise ValueError(f"num_threads is {num_threads!r}, expected a whole number from 1")
        file = read_model(model)
        self._contract = file.contract
        self._interpreter = interpreter.build(file.content, num_threads)
        self._input = _only_tensor(self._interpreter.get_input_details(), "input", file.name)
        self._output = _only_tensor(self._interpreter.get_output_details(), "output", file.name)
        _check_shapes(file.contract, self._input, self._output, file.name)
        self._preprocess = Preprocessor(file.contract.input, self._input)
        # One interpreter is not safe to call from two threads at once: it raises or, rarely, answers wrongly.
        self._lock = threading.Lock()

    @property
    def contract(self) -> Contract:
        """What the model expects and what its outputs mean."""
        return self._contract

    @property
    def input(self) -> TensorSpec:
        """The model's input tensor."""
        return self._input

    @property
    def output(self) -> TensorSpec:
        """The model's output tensor."""
        return self._output

    def scores(self, image: ImageSource) -> npt.NDArray[np.float32]:
        """The score of every label: a float32 vector in the order of `contract.labels`.

        Args:
            image: a path, an encoded image's bytes, a binary file object, a PIL image, or a uint8 array of
                shape HxW, HxWx1 or HxWx3 (red, green, blue).

        Raises:
            ImageError: the picture cannot be read.
            InterpreterError: the invocation failed, or gave something that is no number.
        """
        tensor = self._preprocess(image)
        with self._lock:
            try:
                self._interpreter.set_tensor(self._input.index, tensor)
                self._interpreter.invoke()
                stored = self._interpreter.get_tensor(self._output.index)
            except (RuntimeError, ValueError) as error:
                raise InterpreterError(f"the model failed to run: {error}") from error
        scores = self._output.dequantize(stored).reshape(-1)
        if not np.isfinite(scores).all():
            raise InterpreterError("the model gave scores that are not numbers (NaN); its weights are damaged")
        return scores

    def classify(self, image: ImageSource, top: int = 3) -> list[Prediction]:
        """The `top` best answers for one picture, best first; for `image` and errors see `scores`."""
        if top < 1:
            raise ValueError(f"top is {top!r}, expected a whole number from 1")
        return rank(self.scores(image), self._contract.labels, top)

    def classify_batch(self, images: Iterable[ImageSource], top: int = 3) -> Iterator[list[Prediction]]:
        """Classify many pictures, lazily and in order: what `classify` gives for each; see `scores` for errors."""
        return (self.classify(image, top) for image in images)


def _only_tensor(details: list[dict[str, object]], what: str, name: str) -> TensorSpec:
    if len(details) != 1:
        raise ModelFileError(f"{name}: {len(details)} {what}s, expected 1")
    return TensorSpec.from_details(details[0])


def _check_shapes(contract: Contract, given: TensorSpec, answer: TensorSpec, name: str) -> None:
    if given.shape != (1, *contract.input.shape):
        raise ModelFileError(f"{name}: input of shape {given.shape}, its contract says {(1, *contract.input.shape)}")
    if answer.shape != (1, len(contract.labels)):
        raise ModelFileError(
            f"{name}: output of shape {answer.shape}, its contract names {len(contract.labels)} labels"
        )
    if not answer.is_quantized and answer.dtype != np.float32:
        raise ModelFileError(f"{name}: output of type {answer.dtype}, expected float32, uint8 or int8")
