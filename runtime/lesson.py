"""The lesson: pictures of a new class -> their embeddings -> a copy of the model file that knows the class too.

The network stays as it is, byte for byte. The copy is sealed as every model file is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .classifier import Classifier
from .contract import Confidence
from .errors import TeachingError, shortened
from .images import ImageSource, Pixels, load_pixels
from .model_file import ModelFile, ModelSource, associated_files, read_model, seal
from .postprocessing import UNKNOWN, apply_temperature
from .recognition import is_same_word, suggestion
from .teaching.decision import Trial, means_of, network_floor
from .teaching.format import (
    MAX_PICTURES,
    TAUGHT_NAME,
    Floats,
    Rehearsal,
    Taught,
    TaughtClass,
    directions,
    read_rehearsal,
    read_taught,
    unit,
)

#: With fewer pictures, a prototype without one of them says nothing; fewer than `ENOUGH` are remarked on.
LEAST, ENOUGH = 3, 5
#: The share of recognized pictures below which more of them are asked for.
_SURE = 0.8
#: Pictures that resemble another class by this share of what they resemble one another are taken for that class.
_SAME = 0.95
#: Pictures are compared in blocks, this many on a side. They are copies of each other if what differs is smaller than
#: this, in levels of 255: another JPEG quality or size gives 1 to 3, the next frame of a still camera too.
_BLOCKS, _COPY = 16, 4.0


class Lesson(NamedTuple):
    """What came of a lesson.

    Attributes:
        content: the new model file.
        label: the class.
        pictures: how many different pictures of it the file knows now.
        copies: the names of pictures that were left out, as they repeat another one.
        recognized: how many of its pictures are recognized by prototypes that do not know them (leave-one-out).
        taught: every taught class as (label, pictures, recognized).
    """

    content: bytes
    label: str
    pictures: int
    copies: tuple[str, ...]
    recognized: int
    taught: tuple[tuple[str, int, int], ...]

    @property
    def advice(self) -> str:
        """What would make the class surer; "" if nothing needs to be said."""
        if self.recognized < _SURE * self.pictures:
            return "add pictures that look different"
        return f"{ENOUGH} pictures or more are surer" if self.pictures < ENOUGH else ""


class _Material(NamedTuple):
    """A model file whose classes are to change: what it knows of its own classes, and of the taught ones."""

    file: ModelFile
    rehearsal: Rehearsal
    taught: Taught

    @property
    def own(self) -> tuple[str, ...]:
        return self.file.contract.network_labels

    def taught_class(self, label: str) -> TaughtClass | None:
        return next((one for one in self.taught.classes if one.label == label), None)


def teach(
    model: ModelSource,
    label: str,
    pictures: Iterable[tuple[str, ImageSource]],
    *,
    add: bool = False,
    **options: Any,
) -> Lesson:
    """Teach a class to a model file that was exported with its embedding; the given file is left alone.

    Args:
        model: a path, a model file's bytes, or a binary file object; classes may have been taught to it already.
        label: the name of the class.
        pictures: each with its name for messages; five or more that look different.
        add: add the pictures to a class that was taught before.
        options: of `Classifier`, such as `interpreter` and `trusted`.

    Raises:
        TeachingError: the label exists, or cannot be one; the pictures are too few or too many, or contradict what was
            taught; the model cannot tell them from another class.
        ModelFileError: the file cannot be read, or was exported without its embedding.
        ImageError: a picture cannot be read.
        InterpreterError: as for `Classifier`.
    """
    file = read_model(model)
    material = _open(file)
    _check_label(material, label, add)
    with Classifier(file.content, **options) as classifier:
        given, copies = _look(classifier, material, label, list(pictures))
        floor = network_floor(file.contract, classifier.output)
    before = material.taught_class(label)
    if before is not None:
        given = TaughtClass(
            label,
            *(np.concatenate(pair) for pair in zip(before[1:4], given[1:4], strict=True)),  # type: ignore[arg-type]
        )
    if not LEAST <= len(given.embeddings) <= MAX_PICTURES:
        _refuse_number(label, len(given.embeddings), copies)
    classes = [given if one.label == label else one for one in material.taught.classes]
    classes += [given] if before is None else []
    taught, confidence = _fitted(material, classes, floor)
    _check_apart(material, taught.classes, label)
    found = next(one for one in taught.classes if one.label == label)
    known = tuple((one.label, len(one.embeddings), one.recognized) for one in taught.classes)
    return Lesson(_sealed(material, taught, confidence), label, len(found.embeddings), copies, found.recognized, known)


def forget(model: ModelSource, label: str) -> bytes:
    """The model file without a class that was taught to it; without the last one, the file that was exported.

    Raises:
        TeachingError: the class was not taught.
        ModelFileError: as for `teach`.
    """
    file = read_model(model)
    material = _open(file)
    if label in material.own:
        raise TeachingError(
            f"{label!r} is a class that the network was trained for, and only taught ones can be forgotten; "
            "leave it out of the answers with `deny`"
        )
    if material.taught_class(label) is None:
        labels = [one.label for one in material.taught.classes]
        known = ", ".join(map(repr, labels)) if labels else "none"
        raise TeachingError(f"no taught class {label!r}; {file.name} has {known}{suggestion(label, labels)}")
    left = [one for one in material.taught.classes if one.label != label]
    with Classifier(file.content, trusted=True) as classifier:
        floor = network_floor(file.contract, classifier.output)
    return _sealed(material, *_fitted(material, left, floor))


def _open(file: ModelFile) -> _Material:
    contract = file.contract
    if contract.input.kind != "image":
        raise TeachingError(f"{file.name}: takes {contract.input.describe()}, and classes are taught by pictures")
    taught = read_taught(file) if contract.taught else Taught((), 0.0, 1.0, contract.confidence)
    return _Material(file, read_rehearsal(file), taught)


def _check_label(material: _Material, label: str, add: bool) -> None:
    taught = [one.label for one in material.taught.classes]
    if label in material.own:
        raise TeachingError(
            f"{label!r} is a class that the network was trained for; choose another name, or train with more pictures"
        )
    if label in taught and not add:
        raise TeachingError(f"{label!r} was taught already; give `add` to add pictures to it, or forget it first")
    if add and label not in taught:
        known = ", ".join(map(repr, taught)) if taught else "none"
        raise TeachingError(f"no taught class {label!r} to add to; there is {known}{suggestion(label, taught)}")
    alike = next((one for one in (*material.own, *taught) if one != label and is_same_word(one, label)), None)
    if alike is not None and not add:
        raise TeachingError(f"{label!r} differs from the class {alike!r} in its spelling alone; choose another name")
    if label.casefold() == UNKNOWN:
        raise TeachingError(f"{label!r} is the answer to pictures of no class; choose another name, such as 'other'")
    replace(material.file.contract, labels=(*material.own, label), taught=1)  # raises ContractError


def _look(
    classifier: Classifier, material: _Material, label: str, pictures: Sequence[tuple[str, ImageSource]]
) -> tuple[TaughtClass, tuple[str, ...]]:
    """The class that some pictures show, each picture once, and the names of those that repeat another one."""
    spec = material.file.contract.image_input
    known = [(one.label, thumbnail) for one in material.taught.classes for thumbnail in one.thumbnails]
    copies, thumbnails, scores, embeddings = [], list[npt.NDArray[np.uint8]](), list[Floats](), list[Floats]()
    for name, picture in pictures:
        pixels = load_pixels(picture, spec)
        thumbnail = _thumbnail(pixels)
        other = next((owner for owner, seen in known if _is_copy(seen, thumbnail)), None)
        if other not in (None, label):
            raise TeachingError(f"{name}: contradicts what was taught: the same picture is of the class {other!r}")
        if other == label:
            copies.append(name)
            continue
        known.append((label, thumbnail))
        own, embedding = classifier.run_both(classifier.preprocessor.scale(pixels[np.newaxis]))
        thumbnails.append(thumbnail)
        scores.append(own)
        embeddings.append(embedding)
    if not embeddings and material.taught_class(label) is not None:
        such = f"every picture repeats one that it was taught with, such as {copies[0]}" if copies else "no picture"
        raise TeachingError(f"{label!r}: {such}; give others")
    if not embeddings:
        _refuse_number(label, 0, copies)
    vectors = directions(np.stack(embeddings), material.rehearsal.mean)
    return TaughtClass(label, vectors, np.stack(scores), np.stack(thumbnails)), tuple(copies)


def _thumbnail(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """The means of the blocks of an image, uint8."""
    sums = pixels.mean(axis=2)
    for axis in (0, 1):
        size = sums.shape[axis]
        edges = np.arange(min(size, _BLOCKS)) * size // min(size, _BLOCKS)
        lengths = np.diff([*edges, size])
        sums = np.add.reduceat(sums, edges, axis=axis) / np.expand_dims(lengths, 1 - axis)
    found: npt.NDArray[np.uint8] = sums.round().astype(np.uint8).reshape(-1)
    return found


def _is_copy(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> bool:
    """Whether two pictures differ in brightness and in noise alone."""
    apart = one.astype(np.float32) - other
    return float(np.std(apart)) < _COPY


def _refuse_number(label: str, count: int, copies: Sequence[str]) -> None:
    if count > MAX_PICTURES:
        raise TeachingError(f"{label!r}: {count} pictures, expected at most {MAX_PICTURES}; leave some out")
    repeated = f" ({len(copies)} more repeat {'it' if count == 1 else 'others'}, such as {copies[0]})" if copies else ""
    raise TeachingError(
        f"{label!r}: {count} different picture{'s' * (count != 1)}{repeated}, expected at least {LEAST}; "
        f"{ENOUGH} or more that look different are better"
    )


def _fitted(material: _Material, classes: Sequence[TaughtClass], floor: float) -> tuple[Taught, Confidence]:
    """The classes with the decision fitted to them, and the temperature and threshold of the file with them."""
    confidence = material.taught.confidence
    if not classes:
        return material.taught._replace(classes=()), confidence
    trial = _trial(material, classes, floor)
    bias, temperature = trial.fit()
    recognized = trial.recognized(bias, temperature)
    counted = tuple(one._replace(recognized=n) for one, n in zip(classes, recognized, strict=True))
    threshold = trial.threshold(confidence.threshold, bias, temperature)
    return Taught(counted, bias, temperature, confidence), Confidence(confidence.temperature, threshold)


def _trial(material: _Material, classes: Sequence[TaughtClass], floor: float) -> Trial:
    temperature = material.taught.confidence.temperature

    def calibrated(scores: Floats) -> Floats:
        return scores if temperature == 1 or not len(scores) else apply_temperature(scores, temperature, floor)

    rehearsal = material.rehearsal._replace(scores=calibrated(material.rehearsal.scores))
    return Trial(rehearsal, [one._replace(scores=calibrated(one.scores)) for one in classes])


def _check_apart(material: _Material, classes: Sequence[TaughtClass], label: str) -> None:
    """Refuse pictures that as a group are nearer to another class than to each other.

    The mean of few pictures is further from each of them than the mean of many would be. The mean cosine of two
    pictures is the square of the cosine with the mean of infinitely many, so its root is compared.
    """
    given = next(one for one in classes if one.label == label).embeddings
    count = len(given)
    pairs = (float(np.square(given.sum(axis=0)).sum()) - float(np.square(given).sum())) / (count * (count - 1))
    own = float(np.sqrt(max(0.0, pairs)))
    others = [one for one in classes if one.label != label]
    prototypes = np.concatenate([unit(material.rehearsal.prototypes), *([unit(means_of(others))] if others else [])])
    means = (given @ prototypes.T).mean(axis=0)
    nearest, other = max(zip(means.tolist(), (*material.own, *(one.label for one in others)), strict=True))
    if nearest >= _SAME * own:
        raise TeachingError(
            f"{label!r}: its pictures resemble {shortened(other, 80, 20)!r} (cosine {nearest:.2f}) as much as one "
            f"another ({own:.2f}), so that they cannot be told apart; give pictures that show the thing alone and large"
        )


def _sealed(material: _Material, taught: Taught, confidence: Confidence) -> bytes:
    """The model file with these taught classes, and the temperature and threshold that go with them."""
    file = material.file
    members = associated_files(file.content)
    members.pop(TAUGHT_NAME, None)
    if taught.classes:
        members[TAUGHT_NAME] = taught.to_json()
    labels = (*material.own, *(one.label for one in taught.classes))
    contract = replace(file.contract, labels=labels, taught=len(taught.classes), confidence=confidence)
    return seal(file.flatbuffer, contract, members)
