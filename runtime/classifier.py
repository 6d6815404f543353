"""The classifier: feed, invoke, dequantize, rank."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import interpreter as interpreters
from .contract import DEFAULT_TOP, Contract
from .errors import ContractError, InputError, InterpreterError, ModelFileError
from .images import ImageSource
from .interpreter_pool import InterpreterPool
from .model_file import ModelSource, is_sealed, read_model
from .postprocessing import Prediction, choose_labels, dequantizer, rank, tempered_reader
from .preprocessing import InputPreprocessor, TensorSpec, make_preprocessor

if TYPE_CHECKING:
    from .features import FeaturesSource
    from .files import PathLike


class Classifier:
    """Classifies with one model, float32, uint8 or int8, pictures grey or colour or vectors of readings, by one call.

    Args:
        model: a path, a model file's bytes, or a binary file object. It is read once, into memory: replacing
            the file later changes nothing here.
        num_threads: threads of one invocation, at least 1; small models are fastest with 1.
        interpreter: `"auto"` (tflite-runtime where it is installed, else ai-edge-litert), `"tflite_runtime"`
            or `"ai_edge_litert"`.
        delegate: a shared library for an accelerator, such as `"libedgetpu.so.1"`.
        contract: of a model of someone else's, which has none inside.
        foreign: or what is known of such a model, by the names of `foreign.ExternalOptions`: `labels="labels.txt"`,
            `colour`, `resize`, `filter`, `background`, `mean`, `std`, `task`. What its TFLite metadata says need not
            be said. Before it is trusted it is tried in a child process.

    Raises:
        ModelFileError: missing, truncated or changed, its tensors are not what its contract says, or it is someone
            else's and does not say what is needed.
        ContractError: its contract is one that this version cannot obey; or the labels or options do not fit it.
        InterpreterError: no interpreter that works is installed, or it refuses the model or the delegate.

    Any number of threads may call at once: each call has an interpreter to itself. A forked process builds its
    own; a pickle carries the model's bytes. It is a context manager too: leaving it lets go of the model.

    Example:
        >>> classifier = Classifier("int8.tflite")
        >>> classifier.classify("seven.png")[0].label
        '7'
        >>> [answers[0].label for answers in classifier.classify_batch(["seven.png", "seven.png"], top=1)]
        ['7', '7']
    """

    def __init__(
        self,
        model: ModelSource,
        *,
        num_threads: int = 1,
        interpreter: str = interpreters.AUTO,
        delegate: str | None = None,
        contract: Contract | None = None,
        labels: PathLike | Sequence[str] | None = None,
        colour: str | None = None,
        resize: str | None = None,
        filter: str | None = None,
        background: Sequence[int] | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        task: str | None = None,
    ) -> None:
        if not isinstance(num_threads, int) or num_threads < 1:
            raise ValueError(f"num_threads is {num_threads!r}, expected a whole number from 1")
        options: dict[str, Any] = {
            "labels": labels,
            "colour": colour,
            "resize": resize,
            "filter": filter,
            "background": background,
            "mean": mean,
            "std": std,
            "task": task,
        }
        given = {name: value for name, value in options.items() if value is not None}
        if contract and given:
            raise TypeError(f"contract says all that the options say; leave out {', '.join(given)}")

        def adopt(content: bytes, name: str) -> Contract:
            from .external.adopt import ExternalOptions, adopt  # here: a sealed model needs none of it

            return adopt(content, name, contract or ExternalOptions(**given), interpreter, delegate)

        file = read_model(model, adopt)
        sealed = is_sealed(file.content)
        if sealed and (contract or given):
            superfluous = ", ".join(given) or "contract"
            raise ContractError(f"{file.name}: carries its own contract, made with it; leave out {superfluous}")
        build = partial(interpreters.build, file.content, num_threads, interpreter, delegate)
        self._assemble(file.contract, build, file.name)
        self._content: bytes | None = file.content
        self._options: dict[str, Any] = {"num_threads": num_threads, "interpreter": interpreter, "delegate": delegate}
        if not sealed:  # the labels' file need not be there where it is unpickled
            self._options["contract"] = file.contract

    @classmethod
    def from_interpreter(cls, contract: Contract, build: Callable[[], interpreters.Interpreter]) -> Classifier:
        """A classifier on interpreters of your own, such as `runtime.testing.FakeInterpreter`; it cannot be pickled.

        Args:
            contract: what the model expects and answers.
            build: makes an interpreter, its tensors allocated; called again for each thread that calls at once.

        Raises:
            ModelFileError: its tensors are not what the contract says.
        """
        classifier = cls.__new__(cls)
        classifier._content, classifier._options = None, {}
        classifier._assemble(contract, build, "interpreter")
        return classifier

    def _assemble(self, contract: Contract, build: Callable[[], interpreters.Interpreter], name: str) -> None:
        self._contract = contract
        first = build()
        self._input = _only_tensor(first.get_input_details(), "input", name)
        self._output = _only_tensor(first.get_output_details(), "output", name)
        _check_shapes(contract, self._input, self._output, name)
        self._preprocess = make_preprocessor(contract.input, self._input)
        self._real = dequantizer(self._output)
        self._tempered = tempered_reader(self._output, contract, self._real)
        self._engines: InterpreterPool | None = InterpreterPool(build, self._input.index, self._output.index)
        self._engines.add(first)

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the model and its interpreters; a later call raises InterpreterError."""
        self._engines = self._content = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self._content is None:
            raise InterpreterError("the classifier has no model to pickle: it is closed, or made from an interpreter")
        return _unpickled, (self._content, self._options)

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

    @property
    def preprocessor(self) -> InputPreprocessor:
        """What turns a picture, or a vector, into the model's input tensor."""
        return self._preprocess

    def scores(self, image: ImageSource | FeaturesSource) -> npt.NDArray[np.float32]:
        """The score of every label: a float32 vector in the order of `contract.labels`, under its temperature.

        Args:
            image: a path, an encoded image's bytes, a binary file object, a PIL image, or a uint8 array of
                shape HxW, HxWx1 or HxWx3 (red, green, blue). Of a model that takes features: a list, a tuple or an
                array of numbers in the order of `contract.input.names`, or a mapping of these names to numbers.

        Raises:
            ImageError: the picture cannot be read.
            FeaturesError: another number of values, other names, or one that is no finite number.
            InterpreterError: the invocation failed, gave something that is no number, or the classifier is closed.
        """
        return self.interpret(self.run(image))

    def run(self, image: ImageSource | FeaturesSource) -> npt.NDArray[Any]:
        """The model's output tensor as it is stored, of `output.dtype`; errors as of `scores`, but for the numbers."""
        return self.run_tensor(self._preprocess(image))

    def run_tensor(self, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """As `run`, for an input tensor that `preprocessor` made."""
        if self._engines is None:
            raise InterpreterError("the classifier is closed")
        stored: npt.NDArray[Any] = self._engines.run(tensor)
        return stored

    def interpret(self, stored: npt.NDArray[Any], *, tempered: bool = True) -> npt.NDArray[np.float32]:
        """The score of every label, of what `run` gave.

        Args:
            tempered: apply the contract's temperature; without it the scores are those of the model itself.

        Raises:
            InterpreterError: something in it is no number.
        """
        scores = (self._tempered if tempered else self._real)(stored)
        if not math.isfinite(np.add.reduce(scores)):  # a sum is no number where one of them is none
            raise InterpreterError("the model gave scores that are not numbers (NaN); its weights are damaged")
        if self._contract.task == "binary" and scores.size == 1:  # the probability of the second label
            return np.array([1 - scores[0], scores[0]], np.float32)
        return scores

    def classify(
        self,
        image: ImageSource | FeaturesSource,
        top: int | None = None,
        *,
        min_score: float | None = None,
        allow: Collection[str] | None = None,
        deny: Collection[str] = (),
    ) -> list[Prediction]:
        """The best answers for one picture or vector, best first; there is always at least one.

        Args:
            image: as for `scores`, and the same errors.
            top: answers at most, at least 1. Without it 3; of the task multilabel all labels that reach `min_score` or
                the threshold, where there is one.
            min_score: answers with a lower score are left out; where none is left, the one answer is "unknown".
                Without it the contract's threshold counts: where the best answer is below it, the one answer is
                "unknown", but the second and third best need not reach it (of the task multilabel each must).
            allow: the only labels that may be answered; all of them without it.
            deny: labels that may not be answered.

        Raises:
            ValueError: `top` below 1, or a name in `allow` or `deny` that is no label.
        """
        return self._answer(image, self._choice(top, min_score, allow, deny))

    def _choice(
        self, top: int | None, min_score: float | None, allow: Collection[str] | None, deny: Collection[str]
    ) -> tuple[int, float, npt.NDArray[np.int64] | None, float]:
        """What `rank` takes after scores and labels."""
        if top is not None and top < 1:
            raise ValueError(f"top is {top!r}, expected a whole number from 1")
        chosen = None if allow is None and not deny else choose_labels(self._contract.labels, allow, deny)
        multilabel = self._contract.task == "multilabel"
        threshold = 0.0
        if min_score is None:
            threshold = self._contract.confidence.threshold
            min_score = threshold if multilabel else 0.0
        if top is None:  # of several labels none that reaches the threshold is left out
            top = len(self._contract.labels) if multilabel and min_score else DEFAULT_TOP
        return top, min_score, chosen, threshold

    def _answer(
        self,
        image: ImageSource | FeaturesSource,
        choice: tuple[int, float, npt.NDArray[np.int64] | None, float],
    ) -> list[Prediction]:
        return rank(self.scores(image), self._contract.labels, *choice)

    def classify_batch(
        self,
        images: Iterable[ImageSource | FeaturesSource],
        top: int | None = None,
        *,
        min_score: float | None = None,
        allow: Collection[str] | None = None,
        deny: Collection[str] = (),
        workers: int | None = None,
        return_errors: bool = False,
    ) -> Iterator[list[Prediction] | InputError]:
        """Classify many images or vectors, lazily and in order: for each the predictions that `classify` gives.

        Worker threads decode and run the model, each with its own interpreter, a few images ahead of the caller.

        Args:
            images: taken one by one, only as far ahead as the workers need.
            top, min_score, allow, deny: as for `classify`; they are checked at once.
            workers: threads; by default one for each processor.
            return_errors: yield the InputError of an image that cannot be read in its place, and continue.

        Raises:
            ValueError: `top` or `workers` below 1, or a name in `allow` or `deny` that is no label.
            ImageError, FeaturesError: an input cannot be read, unless `return_errors`.
            InterpreterError: as `scores` does.
        """
        workers = os.cpu_count() or 1 if workers is None else workers
        if workers < 1:
            raise ValueError(f"workers is {workers!r}, expected a whole number from 1")
        choice = self._choice(top, min_score, allow, deny)

        def answer(image: ImageSource | FeaturesSource) -> list[Prediction] | InputError:
            try:
                return self._answer(image, choice)
            except InputError as error:
                if not return_errors:
                    raise
                return error

        from .thread_map import ordered_map  # here: its thread pool takes longer to import than an answer takes

        return ordered_map(answer, images, workers)


def _unpickled(content: bytes, options: dict[str, Any]) -> Classifier:
    return Classifier(content, **options)


def _only_tensor(details: list[dict[str, object]], what: str, name: str) -> TensorSpec:
    if len(details) != 1:
        raise ModelFileError(f"{name}: {len(details)} {what}s, expected 1")
    return TensorSpec.from_details(details[0])


def _check_shapes(contract: Contract, given: TensorSpec, answer: TensorSpec, name: str) -> None:
    if given.shape != (1, *contract.input.shape):
        raise ModelFileError(f"{name}: input of shape {given.shape}, its contract says {(1, *contract.input.shape)}")
    if math.prod(answer.shape) != contract.outputs:  # others' models may answer with 1 x 1 x 1 x labels
        raise ModelFileError(
            f"{name}: output of shape {answer.shape}, its contract names {len(contract.labels)} labels "
            f"for the task {contract.task}"
        )
    if not answer.is_quantized and answer.dtype != np.float32:
        raise ModelFileError(f"{name}: output of type {answer.dtype}, expected float32, uint8 or int8")
