"""Follows a model file: where another model is renamed into its place, that one answers from then on."""

from __future__ import annotations

import io
import logging
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from .classifier import Classifier
from .deployment.fit import other_answers, other_input
from .deployment.health import HealthRecorder, service_name, slot_of
from .errors import InterpreterError, PocketlensError, describe
from .files import PathLike, shown
from .model_file import read_model_bytes, sha256
from .postprocessing import UNKNOWN, Prediction

_log = logging.getLogger(__name__)

#: Device, inode, size and time of the last change.
_FileIdentity = tuple[int, int, int, int]
#: A model that is being loaded while the program ends is waited for so long.
_LOADING_S = 10.0
_NO_FILE: _FileIdentity = (0, 0, 0, 0)


class _Served(NamedTuple):
    classifier: Classifier
    sha256: str


class ModelFollower:
    """A model file that may be replaced while it answers; `current()` is the classifier to use now.

    A thread looks at the file once a second. A file that was replaced, and then stood still for a second, is loaded in
    that thread and tried once, while the old model answers on; it takes over between two answers. One that does not
    load is reported once by a warning, and the old model answers on. So is one that gives other answers or takes
    another input: it needs a new start.

    If the file is `model.tflite` of a slot of `pocketlens update`, the counts of its answers and errors go to the slot
    too, from which an update sees whether a new model works.

    Args:
        path: the model file.
        follows: look for another file; False keeps the first.
        kind: what this program is, in the names of the slot's counts.
        check_every: seconds between two looks at the file.
        load: makes a classifier of a binary file object; by default `Classifier` with `options`.
        needs_restart: called once where a model with other labels, another task or another input has come.
        options: parameters of `Classifier`, such as `num_threads`.

    Raises:
        ModelFileError, ContractError, InterpreterError: as `Classifier` does, for the first model.

    Any number of threads may call. It is a context manager, which ends its thread.

    Example:
        >>> with ModelFollower("int8.tflite") as model:
        ...     model.classify("seven.png")[0].label
        '7'
    """

    def __init__(
        self,
        path: PathLike,
        *,
        follows: bool = True,
        kind: str = "script",
        check_every: float = 1.0,
        load: Callable[[Any], Classifier] | None = None,
        needs_restart: Callable[[], object] = lambda: None,
        **options: Any,
    ) -> None:
        self._path = path
        self._load = partial(Classifier, **options) if load is None else load
        self._needs_restart = needs_restart
        self._every = check_every
        self._name = service_name(kind)
        self._recorder = self._find_recorder()
        self._identity = _identity(path)
        first = path if self._recorder is None else self._recorder.model_to_load(path)
        self._served = self._opened(first, "")
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="pocketlens-model", daemon=True)
        if follows:
            self._thread.start()

    def __enter__(self) -> ModelFollower:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the thread; the last model answers on."""
        self._end.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_LOADING_S)  # native code must not be at work when Python ends
        if self._recorder is not None:
            self._recorder.close()

    def current(self) -> Classifier:
        """The classifier of the newest model; use it for one answer, then ask again."""
        return self._served.classifier

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file that answers now, in hexadecimal digits."""
        return self._served.sha256

    def classify(self, image: Any, top: int | None = None, **options: Any) -> list[Prediction]:
        """As `Classifier.classify`, by the newest model."""
        served = self._served
        try:
            predictions = served.classifier.classify(image, top, **options)
        except InterpreterError as error:
            self.note_error(error, served.classifier)
            raise
        self.note_answer(predictions[0].label == UNKNOWN, served.classifier)
        return predictions

    def note_answer(self, unknown: bool, classifier: Classifier) -> None:
        """Count an answer that a caller has made of `classifier.scores`."""
        served = self._served
        if self._recorder is not None and classifier is served.classifier:
            self._recorder.answered(served.sha256, unknown)

    def note_error(self, error: InterpreterError, classifier: Classifier) -> None:
        """Count that a model could not answer."""
        served = self._served
        if self._recorder is not None and classifier is served.classifier:
            self._recorder.failed(served.sha256, str(error))

    def _find_recorder(self) -> HealthRecorder | None:
        slot = slot_of(self._path)
        return None if slot is None else HealthRecorder(slot, self._name)

    def _opened(self, path: PathLike, running: str) -> _Served:
        """Load a model; the slot's marker says so before, as it may take the process down.

        Args:
            path: the model file.
            running: the SHA-256 of the model that answers meanwhile, for which the new one is tried; "" for none.
        """
        content, name = read_model_bytes(path)
        digest = sha256(content)
        recorder = self._recorder = self._recorder or self._find_recorder()  # the first update makes the slot
        if recorder is not None:
            recorder.loading(digest)
        try:
            classifier = self._load(_NamedBytes(content, name))
            if running:
                _try_once(classifier)
        except (PocketlensError, MemoryError) as error:
            if recorder is not None:
                recorder.load_failed(digest, running, describe(error))
            raise
        return _Served(classifier, digest)

    def _follow(self) -> None:
        before = self._identity
        while not self._end.wait(self._every):
            now = _identity(self._path)
            if now not in (_NO_FILE, self._identity) and now == before:
                self._identity = now
                self._take_over()
            before = now

    def _take_over(self) -> None:
        running = self._served
        try:
            fresh = self._opened(self._path, running.sha256)
            contracts = fresh.classifier.contract, running.classifier.contract
            differs = other_input(*contracts) or other_answers(*contracts)
            if differs:
                _log.warning("warning: %s: %s; it needs a new start", shown(self._path), differs)
                if self._recorder is not None:
                    self._recorder.not_taken(running.sha256)
                self._needs_restart()
                return
        except (PocketlensError, MemoryError) as error:
            _log.warning("warning: %s; the model before it answers on", describe(error))
            return
        self._served = fresh
        _log.info("%s: another model, SHA-256 %s..., answers from now on", shown(self._path), fresh.sha256[:12])


class _NamedBytes(io.BytesIO):
    """A file's content with the file's name, which messages show."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def _identity(path: PathLike) -> _FileIdentity:
    try:
        found = os.stat(path)  # noqa: PTH116 - as it was named
    except OSError:
        return _NO_FILE
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _try_once(classifier: Classifier) -> None:
    """Run a model on zeros: the first invocation takes longer, and nobody waits for it here.

    Raises:
        InterpreterError: it fails, or gives numbers that are none.
    """
    import numpy as np

    zeros = np.zeros((1, *classifier.contract.input.shape), classifier.input.dtype)
    classifier.interpret(classifier.run_tensor(zeros))
