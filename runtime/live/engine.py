"""The loop of a live camera: the newest frame is answered, and changes of the state are told."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..camera.byte_sources import FrameSource
from ..camera.frame import Frame, Region
from ..camera.reader import FrameReader, open_source
from ..classifier import Classifier
from ..errors import ContractError, ImageError, InterpreterError
from ..files import BYTES_NAME
from ..input_spec import PICKING_FILTERS, ImageInput
from ..model_follower import ModelFollower
from ..outputs.event import Event
from ..outputs.outputs import RepeatedWarning
from ..postprocessing import UNKNOWN
from .motion import MotionGate
from .stabilizer import Stabilizer
from .statistics import Counter, LiveStatistics

_log = logging.getLogger(__name__)

#: The longest wait for a frame, after which the caller's function is asked whether to go on.
_WAIT_S = 0.2
#: One answer in so many seconds counts for the probation of a new model: frames of one scene are all alike.
_COUNT_EVERY_S = 1.0
#: Labels in an event: those with the best scores.
_MOST_SCORES = 20

Tell: TypeAlias = Callable[[Event], object]


class LiveEngine:
    """Answers the newest frame of a source, again and again, and tells changes of the state.

    `run` works in the thread that calls it; `stop`, `statistics` and `latest` may be used from any other.

    Args:
        reader: gives the frames; it is started and stopped by `run`.
        classifier: a model that takes images; or one that may be replaced between two frames.
        stabilizer: makes the states.
        tell: called with each change, or with each answer if `tell_every`; it must not block for long.
        takes_pictures: whether `tell` wants the frames as JPEGs.
        tell_every: tell each answer, with the state's label as it is then.
        see: called with each answer, and with a function that gives its frame as a JPEG.
        on_frame: called with each frame that is looked at, before it is answered.
        motion: lets only frames through while something moves; by default all.
        every: the least number of seconds between two answers.
        region: the part of the picture to answer about; by default all of it.
        clock: the clock of the frames' `clock`.

    Attributes:
        latest: the last answer; None before the first.

    Raises:
        ContractError: the model takes features.
    """

    def __init__(
        self,
        reader: FrameReader,
        classifier: Classifier | ModelFollower,
        stabilizer: Stabilizer,
        tell: Tell,
        *,
        takes_pictures: bool = False,
        tell_every: bool = False,
        see: Callable[[Event, Callable[[], bytes | None]], object] | None = None,
        on_frame: Callable[[Frame], object] | None = None,
        motion: MotionGate | None = None,
        every: float = 0.0,
        region: Region | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._follower = classifier if isinstance(classifier, ModelFollower) else None
        self._classifier = classifier.current() if isinstance(classifier, ModelFollower) else classifier
        self._size = _decoded_size(self._classifier)
        self._reader = reader
        self._stabilizer = stabilizer
        self._tell = tell
        self._takes_pictures = takes_pictures
        self._tell_every = tell_every
        self._see = see
        self._on_frame = on_frame
        self._motion = motion
        self._every = every
        self._region = region
        self._clock = clock
        self._due = self._count_due = float("-inf")
        self._previous: str | None = None
        self._stop = threading.Event()
        self._counter = Counter(clock())
        self._trouble = RepeatedWarning()
        self.latest: Event | None = None

    def stop(self) -> None:
        """Let `run` return soon."""
        self._stop.set()

    @property
    def statistics(self) -> LiveStatistics:
        """The counts since the start."""
        reader = self._reader
        return self._counter.total(self._clock(), reader.read, reader.dropped, reader.damaged)

    def next_span(self) -> LiveStatistics:
        """The counts since the last call, or since the start; for one caller."""
        reader = self._reader
        return self._counter.span(self._clock(), reader.read, reader.dropped, reader.damaged)

    def run(self, keep_going: Callable[[], bool] = lambda: True) -> None:
        """Answer frames until the source ends, `stop` is called, or `keep_going` is False.

        Args:
            keep_going: called before each frame, and several times a second while none arrives.

        Raises:
            CameraError: a source that is not started again could not be read.
            InterpreterError: the model fails.
        """
        with self._reader:
            while not self._stop.is_set() and keep_going() and self._step():
                pass

    def _step(self) -> bool:
        """Look at the next frame, or wait a moment for it; False if there will be none."""
        frame = self._reader.take(_WAIT_S)
        if frame is not None:
            self._look_at(frame)
        elif self._reader.ended:
            self._reader.take(0)  # raises what has ended it
            return False
        return True

    def _look_at(self, frame: Frame) -> None:
        if frame.clock < self._due:
            self._counter.add("skipped")
            return
        try:
            if self._motion is not None and not (self._motion.is_due(frame.clock) and self._motion.is_open(frame)):
                self._counter.add("still")
                return
            if self._on_frame is not None:
                self._on_frame(frame)
            if self._follower is not None:
                self._take_newest(self._follower.current())
            scores = self._scores(frame)
        except ImageError as error:
            self._counter.add("unreadable")
            reason = str(error).removeprefix(f"{BYTES_NAME}: ").removeprefix(f"{frame.source}: ")
            self._trouble.warn(f"{frame.source}: frame {frame.number:,}: {reason}")
            return
        self._due = frame.clock + self._every
        self._answer(frame, scores)

    def _take_newest(self, classifier: Classifier) -> None:
        if classifier is not self._classifier:
            self._classifier = classifier
            self._size = _decoded_size(classifier)
            self._stabilizer.adopt(classifier.contract)
            self._count_due = float("-inf")

    def _scores(self, frame: Frame) -> npt.NDArray[np.float32]:
        image, layout = frame.image, frame.layout
        if self._region is not None:
            image, layout = frame.part(self._region, self._size)
        try:
            return self._classifier.scores(image, layout)
        except InterpreterError as error:
            if self._follower is not None:
                self._follower.note_error(error, self._classifier)
            raise

    def _answer(self, frame: Frame, scores: npt.NDArray[np.float32]) -> None:
        change = self._stabilizer.update(scores, frame.time)
        self._counter.add("answered")
        if self._follower is not None and frame.clock >= self._count_due:
            self._count_due = frame.clock + _COUNT_EVERY_S
            self._follower.note_answer(self._stabilizer.state == UNKNOWN, self._classifier)
        if change is not None:
            self._counter.add("changes")
            self._previous = change.previous
        told = change is not None or self._tell_every
        event = self._event(frame, scores, told and self._takes_pictures)
        age = self._clock() - frame.clock
        self._counter.age(age)
        self.latest = event = event._replace(age_ms=round(1000 * age, 3))
        if told:
            self._tell(event)
        if self._see is not None:
            self._see(event, partial(_jpeg, frame))

    def _event(self, frame: Frame, scores: npt.NDArray[np.float32], with_picture: bool) -> Event:
        stabilizer = self._stabilizer
        label = UNKNOWN if stabilizer.state is None else stabilizer.state
        values = scores.tolist()
        best = sorted(range(len(values)), key=values.__getitem__, reverse=True)[:_MOST_SCORES]
        return Event(
            frame.time,
            frame.source,
            label,
            stabilizer.score,
            stabilizer.since,
            stabilizer.frames,
            self._previous,
            {stabilizer.labels[place]: values[place] for place in best},
            _jpeg(frame) if with_picture else None,
        )


def _decoded_size(classifier: Classifier) -> tuple[int, int]:
    """The size down to which a JPEG may be decoded: what the model needs, or all for filters that pick single pixels.

    Raises:
        ContractError: the model takes features.
    """
    spec = classifier.contract.input
    if not isinstance(spec, ImageInput):
        raise ContractError(f"the model takes {spec.describe()}, and a camera gives images")
    side = 0 if spec.filter in PICKING_FILTERS else max(spec.height, spec.width)
    return side, side


def _jpeg(frame: Frame) -> bytes | None:
    """A frame as a JPEG; None where it cannot be encoded: an answer without its picture is better than none."""
    try:
        return frame.jpeg()
    except ImageError:
        return None


def changes(
    classifier: Classifier | ModelFollower,
    source: str | FrameSource,
    stabilizer: Stabilizer | None = None,
    **options: Any,
) -> Iterator[Event]:
    """The changes of what a model answers about a camera, for scripts: an iterator without an end.

    Args:
        classifier: a model that takes images; or one that may be replaced between two frames.
        source: as for `runtime.camera.frames`.
        stabilizer: makes the states; by default three of the last five frames, and the model's threshold.
        options: further parameters of `LiveEngine`, such as `every`, `motion`, `region` or `tell_every`.

    Raises:
        CameraError: the source can never give a frame.
        InterpreterError: the model fails.

    Example:
        >>> from runtime.testing import FakeCamera, FakeInterpreter
        >>> door = FakeInterpreter(["open", "shut"], [[0.9, 0.1]] * 5 + [[0.1, 0.9]] * 5).classifier()
        >>> picture = np.zeros((48, 64, 3), np.uint8)
        >>> [event.label for event in changes(door, FakeCamera([picture], rounds=10))]
        ['open', 'shut']
    """
    told: deque[Event] = deque()
    reader = FrameReader(open_source(source) if isinstance(source, str) else source)
    first = classifier.current() if isinstance(classifier, ModelFollower) else classifier
    stabilizer = stabilizer or Stabilizer.for_model(first.contract)
    engine = LiveEngine(reader, classifier, stabilizer, told.append, **options)
    with reader:
        while engine._step() or told:
            while told:
                yield told.popleft()
