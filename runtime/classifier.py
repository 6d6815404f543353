"""The classifier: preprocesses an input, runs the model and ranks its scores."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from . import interpreter as interpreters
from .contract import DEFAULT_DECISION, DEFAULT_TOP, Contract
from .errors import ContractError, InputError, InterpreterError, ModelFileError
from .images import ImageSource
from .interpreter_pool import InterpreterPool
from .model_file import ModelFile, ModelSource, is_sealed, read_model
from .model_tensors import check_shapes, only_tensor, output_tensors
from .postprocessing import Prediction, calibrated_reader, choose_labels, rank, score_reader
from .preprocessing import InputPreprocessor, TensorSpec, make_preprocessor
from .sealed_models import check_sealed

if TYPE_CHECKING:
    from .features import FeaturesSource
    from .files import PathLike

#: The arguments of `rank` after scores and labels.
_Choice: TypeAlias = "tuple[int, float, npt.NDArray[np.int64] | None, float, float]"


class Classifier:
    """Classifies images or vectors of features with one model, by the same call for every type of model.

    Args:
        model: a path, a model file's bytes, or a binary file object. It is read once, into memory: replacing
            the file later changes nothing here.
        num_threads: threads of one invocation, at least 1; small models are fastest with 1.
        interpreter: `"auto"` (tflite-runtime where it is installed, else ai-edge-litert), `"tflite_runtime"`
            or `"ai_edge_litert"`.
        delegate: a shared library for an accelerator, such as `"libedgetpu.so.1"`.
        layout: the default of the calls' `layout`.
        contract: the contract of a model that Pocketlens did not make, which has none inside.
        labels: for such a model without `contract`: a file with one label a line (UTF-8, in the order of the outputs,
            or each behind the number of its output), or the labels.
        colour: `"grey"`, `"rgb"` or `"bgr"`; by default grey for one channel, rgb for three.
        resize, filter, orientation, background: as for `ImageInput`, with its defaults.
        mean, std: in pixel units, one number, or one a channel: the input is `(pixel - mean) / std`. By default a
            quantized input takes the pixels as they are.
        scores: `"softmax"` or `"sigmoid"` to make probabilities of logits, or `"as-is"` to answer the outputs as they
            are; by default the activation that the last operator lacks.
        task: as for `Contract`; by default `"binary"` for one output and two labels, else `"multiclass"`.
        trusted: for models of your own: skip the check of a sealed model's structure and the trial in a child process,
            and accept loops and shapes that are computed from the input.

    A model that Pocketlens did not make is tried in a child process before it is trusted. Its TFLite metadata serves as
    the default of these parameters. They must be left out for a model that carries its own contract. What was concluded
    from the file is logged as a warning, and kept in `notes`.

    Raises:
        ModelFileError: the file is missing, truncated or changed; its tensors do not fit its contract; or it is not
            ours, and a needed parameter is missing.
        ContractError: this version does not know the contract's version; the labels or other parameters do not fit
            the model; or they are given for a model that carries its own contract.
        InterpreterError: no working interpreter is installed, or it refuses the model or the delegate.
        TypeError: both `contract` and other parameters describe the model.

    Any number of threads may call at once: each call has its own interpreter. A forked process builds its own
    interpreters; a pickle carries the model's bytes. The classifier is a context manager too, which closes it.

    Example:
        >>> classifier = Classifier("int8.tflite")
        >>> classifier.classify("seven.png")[0].label
        '7'
        >>> [predictions[0].label for predictions in classifier.classify_batch(["seven.png", "seven.png"], top=1)]
        ['7', '7']
    """

    def __init__(
        self,
        model: ModelSource,
        *,
        num_threads: int = 1,
        interpreter: str = interpreters.AUTO,
        delegate: str | None = None,
        layout: str | None = None,
        contract: Contract | None = None,
        labels: PathLike | Sequence[str] | None = None,
        colour: str | None = None,
        resize: str | None = None,
        filter: str | None = None,
        orientation: str | None = None,
        background: Sequence[int] | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        scores: str | None = None,
        task: str | None = None,
        trusted: bool = False,
    ) -> None:
        if not isinstance(num_threads, int) or num_threads < 1:
            raise ValueError(f"num_threads is {num_threads!r}, expected a whole number from 1")
        self._set_layout(layout)
        options: dict[str, Any] = {
            "labels": labels,
            "colour": colour,
            "resize": resize,
            "filter": filter,
            "orientation": orientation,
            "background": background,
            "mean": mean,
            "std": std,
            "scores": scores,
            "task": task,
        }
        given = {name: value for name, value in options.items() if value is not None}
        if contract and given:
            raise TypeError(f"contract says all that the options say; leave out {', '.join(given)}")

        self._notes: tuple[str, ...] = ()

        def adopt(content: bytes, name: str) -> Contract:
            from .external.adopt import ExternalOptions, adopt  # here: a sealed model needs none of it

            adopted = adopt(content, name, contract or ExternalOptions(**given), interpreter, delegate, trusted=trusted)
            self._notes = adopted.notes
            return adopted.contract

        file = read_model(model, adopt)
        sealed = is_sealed(file.content)
        if sealed and (contract or given):
            superfluous = ", ".join(f"`{name}`" for name in given) or "`contract`"
            raise ContractError(f"{file.name}: carries its own contract, made with it; leave out {superfluous}")
        if sealed and not trusted:
            check_sealed(file, interpreter, delegate)
        build = partial(interpreters.build, file.content, num_threads, interpreter, delegate)
        self._assemble(file.contract, build, file.name, file)
        self._content: bytes | None = file.content
        self._options: dict[str, Any] = {
            "num_threads": num_threads,
            "interpreter": interpreter,
            "delegate": delegate,
            "layout": layout,
            "trusted": True,  # it was checked here
        }
        if not sealed:  # the file of labels may be missing where it is unpickled
            self._options["contract"] = file.contract

    @classmethod
    def from_interpreter(cls, contract: Contract, build: Callable[[], interpreters.Interpreter]) -> Classifier:
        """A classifier with interpreters of your own, such as `runtime.testing.FakeInterpreter`; it cannot be pickled.

        Args:
            contract: what the model takes, and what its outputs mean.
            build: makes an interpreter, its tensors allocated; called once for each thread that calls at the same time.

        Raises:
            ModelFileError: the tensors do not fit the contract.
        """
        classifier = cls.__new__(cls)
        classifier._content, classifier._options, classifier._notes = None, {}, ()
        classifier._layout = None
        classifier._assemble(contract, build, "interpreter", None)
        return classifier

    def _assemble(
        self,
        contract: Contract,
        build: Callable[[], interpreters.Interpreter],
        name: str,
        file: ModelFile | None = None,
    ) -> None:
        self._contract, self._name = contract, name
        first = build()
        inputs, outputs = interpreters.tensor_details(first)
        self._input = only_tensor(inputs, "input", name)
        self._output, self._embedding = output_tensors(outputs, contract, name)
        check_shapes(contract, self._input, self._output, name)
        self._lacks_channels = self._input.shape != (1, *contract.input.shape)
        self._preprocess = make_preprocessor(contract.input, self._input)
        self._network_scores = self._real = score_reader(self._output, contract)
        self._calibrated = calibrated_reader(self._output, contract, self._real)
        self._is_taught = contract.taught > 0
        if self._is_taught:
            from .teaching.decision import taught_readers  # here: few models are taught

            self._real, self._calibrated = taught_readers(file, self._output, name)
        self._engines: InterpreterPool | None = InterpreterPool(build, self._input.index, self._output.index)
        self._engines.add(first)

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the model and its interpreters; a later call raises InterpreterError."""
        self._engines = self._content = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self._content is None:
            raise InterpreterError("the classifier has no model to pickle: it is closed, or made from an interpreter")
        return _unpickled, (self._content, self._options)

    @property
    def contract(self) -> Contract:
        """What the model takes, and what its outputs mean."""
        return self._contract

    @property
    def sha256(self) -> str:
        """The SHA-256 of the model file, in hexadecimal digits; "" if it is closed, or made from an interpreter."""
        import hashlib  # here: an answer needs none of it

        return "" if self._content is None else hashlib.sha256(self._content).hexdigest()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided for a model that Pocketlens did not make, such as the softmax that it lacks."""
        return self._notes

    @property
    def input(self) -> TensorSpec:
        """The model's input tensor."""
        return self._input

    @property
    def output(self) -> TensorSpec:
        """The model's output tensor."""
        return self._output

    @property
    def layout(self) -> str | None:
        """The default of the calls' `layout`."""
        return self._layout

    @property
    def embedding(self) -> TensorSpec | None:
        """The tensor of the embedding; None if the model has none."""
        return self._embedding

    @property
    def preprocessor(self) -> InputPreprocessor:
        """The preprocessor, which turns an image or a vector into the model's input tensor."""
        return self._preprocess

    def scores(self, image: ImageSource | FeaturesSource, layout: str | None = None) -> npt.NDArray[np.float32]:
        """The calibrated score of each label: a float32 vector in the order of `contract.labels`.

        Args:
            image: a path, an encoded image's bytes, a binary file object, a PIL image, or a uint8 array of
                shape HxW, HxWx1 or HxWx3 (red, green, blue). For a model that takes features: a list, a tuple or an
                array of numbers in the order of `contract.input.names`, or a mapping of these names to numbers.
            layout: what an array holds: `"rgb"`, `"bgr"` (OpenCV), `"rgba"`, `"bgra"`, or `"yuv420"` (picamera2, of
                shape 1.5 HxW). By default that of the classifier, or else grey or rgb by the number of channels. It is
                not used for files, PIL images and features.

        Raises:
            ImageError: the image cannot be read.
            FeaturesError: wrong number of values, wrong names, or a value that is not a finite number.
            InterpreterError: the invocation failed or gave NaN, or the classifier is closed.
        """
        return self.interpret(self.run(image, layout))

    def run(self, image: ImageSource | FeaturesSource, layout: str | None = None) -> npt.NDArray[Any]:
        """The model's output tensor as it is stored, of type `output.dtype`; errors as for `scores`, except NaN.

        For a model to which classes were taught: the network's scores and the embedding, in one float32 vector.
        """
        return self.run_tensor(self._preprocess(image, layout or self._layout))

    def run_tensor(self, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """As `run`, for an input tensor that `preprocessor` made."""
        if self._engines is None:
            raise InterpreterError("the classifier is closed")
        if self._is_taught:
            return np.concatenate(self.run_both(tensor))
        if self._lacks_channels:
            tensor = tensor.reshape(self._input.shape)
        stored: npt.NDArray[Any] = self._engines.run(tensor)
        return stored

    def embed(self, image: ImageSource | FeaturesSource, layout: str | None = None) -> npt.NDArray[np.float32]:
        """The embedding of an image or a vector: what the last dense layer of the network takes, float32 (values,).

        Like things have embeddings in like directions, also where the model knows no label for them.

        Args:
            image, layout: as for `scores`, and the same errors.

        Raises:
            ModelFileError: the file was exported without its embedding.
        """
        return self.run_both(self._preprocess(image, layout or self._layout))[1]

    def run_both(self, tensor: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """For an input tensor that `preprocessor` made: the network's own scores without a temperature, and `embed`'s.

        Raises:
            ModelFileError, InterpreterError: as `embed` does.
        """
        if self._embedding is None:
            raise ModelFileError(f"{self._name}: has no embedding; export it again with `embedding`")
        if self._engines is None:
            raise InterpreterError("the classifier is closed")
        if self._lacks_channels:
            tensor = tensor.reshape(self._input.shape)
        scores, embedding = self._engines.run(tensor, self._embedding.index)
        values = self._embedding.dequantize(embedding).reshape(-1)
        if not np.isfinite(values).all():
            raise InterpreterError("the model gave an embedding that is no number (NaN); its weights are damaged")
        return self._network_scores(scores), values

    def interpret(self, stored: npt.NDArray[Any], *, calibrated: bool = True) -> npt.NDArray[np.float32]:
        """The score of each label, from an output tensor that `run` returned.

        Args:
            stored: the output tensor.
            calibrated: apply the contract's temperature; False gives the scores of the model itself.

        Raises:
            InterpreterError: a score is NaN or infinite.
        """
        scores = (self._calibrated if calibrated else self._real)(stored)
        if not math.isfinite(np.add.reduce(scores)):  # a sum is not finite if one of its terms is not
            raise InterpreterError("the model gave scores that are not numbers (NaN); its weights are damaged")
        if self._contract.task == "binary" and scores.size == 1:  # the probability of the second label
            if not self._contract.gives_probabilities and not 0 <= scores[0] <= 1:
                raise InterpreterError(
                    f"the model's one output is {scores[0]:g}, and no probability; load it with `scores=sigmoid`"
                )
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
        layout: str | None = None,
    ) -> list[Prediction]:
        """Predictions for one image or vector, best first; there is always at least one.

        Args:
            image: as for `scores`, and the same errors.
            top: the largest number of predictions, at least 1. By default 3; for the task multilabel, all labels that
                reach `min_score` or the threshold, if there is one.
            min_score: predictions with a lower score are left out; if none remains, the only one is "unknown".
                By default the contract's threshold counts: if the best prediction is below it, the only one is
                "unknown", but the second and third best need not reach it (for the task multilabel each must).
            allow: the only labels that may be predicted; by default all of them.
            deny: labels that may not be predicted.
            layout: as for `scores`.

        Raises:
            ValueError: `top` below 1, a name in `allow` or `deny` that is no label, `min_score` outside 0 to 1, or
                `min_score` for a model whose scores are no probabilities.
            TypeError: `allow` or `deny` is one text instead of a list.
        """
        return self._predict(image, self._choice(top, min_score, allow, deny), layout)

    def _choice(
        self, top: int | None, min_score: float | None, allow: Collection[str] | None, deny: Collection[str]
    ) -> _Choice:
        if top is not None and (not isinstance(top, int) or top < 1):
            raise ValueError(f"top is {top!r}, expected a whole number from 1")
        if min_score is not None and not _is_share(min_score):
            raise ValueError(f"min_score is {min_score!r}, expected a number from 0 to 1")
        chosen = None if allow is None and not deny else choose_labels(self._contract.labels, allow, deny)
        multilabel = self._contract.task == "multilabel"
        threshold = 0.0
        if not self._contract.gives_probabilities:
            if min_score:
                raise ValueError("`min_score` is a probability, and the scores of this model are none; leave it out")
            return DEFAULT_TOP if top is None else top, -math.inf, chosen, -math.inf, DEFAULT_DECISION
        if min_score is None:
            threshold = self._contract.confidence.threshold
            min_score = threshold if multilabel else 0.0
        if top is None:  # multilabel: keep every label that reaches the threshold
            top = len(self._contract.labels) if multilabel and min_score else DEFAULT_TOP
        decision = DEFAULT_DECISION if multilabel else self._contract.confidence.decision
        return top, min_score, chosen, threshold, decision

    def _set_layout(self, layout: str | None) -> None:
        if layout is not None:
            from .array_images import check_layout  # here: most classifiers have none

            check_layout(layout)
        self._layout = layout

    def _predict(self, image: ImageSource | FeaturesSource, choice: _Choice, layout: str | None) -> list[Prediction]:
        return rank(self.scores(image, layout), self._contract.labels, *choice)

    def classify_batch(
        self,
        images: Iterable[ImageSource | FeaturesSource],
        top: int | None = None,
        *,
        min_score: float | None = None,
        allow: Collection[str] | None = None,
        deny: Collection[str] = (),
        layout: str | None = None,
        workers: int | None = None,
        return_errors: bool = False,
    ) -> Iterator[list[Prediction] | InputError]:
        """Classify many images or vectors, lazily and in order: for each the predictions that `classify` gives.

        Worker threads decode and run the model, each with its own interpreter, a few images ahead of the caller.

        Args:
            images: taken one by one, only as far ahead as the workers need.
            top, min_score, allow, deny, layout: as for `classify`; all but `layout` are checked at once.
            workers: threads; by default one for each processor.
            return_errors: yield the InputError of an image that cannot be read in its place, and continue.

        Raises:
            ValueError: `workers` below 1, or as for `classify`.
            TypeError: `images` is a single image, or `allow` or `deny` one text.
            ImageError, FeaturesError: an input cannot be read, unless `return_errors`.
            InterpreterError: as `scores` does.
        """
        workers = os.cpu_count() or 1 if workers is None else workers
        if workers < 1:
            raise ValueError(f"workers is {workers!r}, expected a whole number from 1")
        if isinstance(images, (str, bytes, bytearray, os.PathLike)):
            raise TypeError("images is a single image, expected a list or another iterable; or call classify")
        choice = self._choice(top, min_score, allow, deny)

        def predict(image: ImageSource | FeaturesSource) -> list[Prediction] | InputError:
            try:
                return self._predict(image, choice, layout)
            except InputError as error:
                if not return_errors:
                    raise
                return error

        from .thread_map import ordered_map  # here: its thread pool takes longer to import than a prediction takes

        return ordered_map(predict, images, workers)


def _is_share(value: Any) -> bool:
    return not isinstance(value, str) and bool(0 <= value <= 1)


def _unpickled(content: bytes, options: dict[str, Any]) -> Classifier:
    return Classifier(content, **options)
