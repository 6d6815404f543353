"""The pictures of a review folder: which there are, what is known of them, and what they are compared by."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from runtime import Classifier, ImageError, ImageInput, load_pixels
from runtime.files import is_hidden_name, read_regular_file, shown
from runtime.image_formats import SUFFIXES
from runtime.image_limits import MAX_IMAGE_BYTES

from ..data.duplicates import Fingerprints
from .class_folders import ClassFolders, ReviewError
from .decisions import NONE_NAME
from .note import MAX_NOTE_BYTES, NOTE_SUFFIX, Note, read_note
from .ranking import PictureValues, Ranking
from .sources import is_safe_path

_log = logging.getLogger(__name__)

#: Pictures are compared by means of 8x8 areas of this side; near copies by all of these pixels.
_SIDE, _AREAS = 32, 8
#: Pictures of the data set that the others are compared with.
_MOST_LABELLED = 1000
#: Pairs of near copies that are looked for.
_MOST_PAIRS = 50_000
#: Values of all pictures' embeddings together, at 4 bytes.
_MOST_VALUES = 2**27
_MOST_NAMED = 3


def find_pictures(folder: Path) -> list[str]:
    """The paths of the pictures in a review folder, sorted; links are not followed.

    Raises:
        ReviewError: there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise ReviewError(f"{shown(folder)}: no such folder; collect pictures into it first (`pocketlens collect`)")
    found = []
    for parent, folders, names in os.walk(folder):
        below = Path(parent).relative_to(folder)
        folders[:] = [name for name in folders if not is_hidden_name(name) and name != NONE_NAME]
        for name in names:
            path = (below / name).as_posix()
            if name.lower().endswith(SUFFIXES) and is_safe_path(path) and not (Path(parent) / name).is_symlink():
                found.append(path)
    if not found:
        raise ReviewError(f"{shown(folder)}: no pictures; collect some into it first (`pocketlens collect`)")
    return sorted(found)


class Examination:
    """Looks at all pictures in a thread of its own, so that the first can be labelled meanwhile.

    First the notes are read, then the pictures of the data set and the others are decoded, then near copies are looked
    for. The ranking is better after each step.

    Args:
        folder: the review folder.
        paths: its pictures.
        ranking: is kept up to date.
        dataset: what is labelled already.
        model: gives scores, and its embedding if it has one; None to use the scores in the notes.

    Attributes:
        stage: what is done now: `"notes"`, `"dataset"`, `"pictures"`, `"copies"` or `"ready"`.
        done: how many pictures the stage has behind it.
    """

    def __init__(
        self, folder: Path, paths: list[str], ranking: Ranking, dataset: ClassFolders, model: Classifier | None = None
    ) -> None:
        self._folder, self._paths, self._ranking = folder, paths, ranking
        self._dataset, self._model = dataset, model
        self._spec = ImageInput(_SIDE, _SIDE, "rgb")
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pocketlens-review", daemon=True)
        self._notes: list[Note | None] = [None] * len(paths)
        self.stage, self.done = "notes", 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            self._read_notes()
            labelled = self._look_at_dataset()
            values, fingerprints, places, pixels = self._look_at_pictures()
            if self._end.is_set():
                return
            self._ranking.set_values(values, labelled)
            self._begin("copies")
            self._ranking.set_copies(_groups(fingerprints, places, pixels))
            self._begin("ready")
        except _EndedError:
            pass
        except Exception as error:  # the pictures can still be labelled, in the order that they have
            _log.warning("warning: the pictures cannot be sorted: %s", error)
            self._begin("ready")

    def note_of(self, place: int) -> Note:
        """What is known of a picture; it is read now if its turn has not come yet."""
        note = self._notes[place]
        if note is None:
            try:
                name = self._folder / f"{self._paths[place].rpartition('.')[0]}{NOTE_SUFFIX}"
                note = read_note(read_regular_file(name, MAX_NOTE_BYTES, ReviewError)[0])
            except ReviewError:
                note = Note()
            self._notes[place] = note
        return note

    def _begin(self, stage: str) -> None:
        self.stage, self.done = stage, 0

    def _step(self) -> None:
        if self._end.is_set():
            raise _EndedError
        self.done += 1

    def _read_notes(self) -> None:
        for place in range(len(self._paths)):
            self._step()
            self._ranking.set_scores(place, self.note_of(place).scores)

    def _look_at_dataset(self) -> PictureValues:
        """The values of pictures with a label, shape (n, values)."""
        self._begin("dataset")
        found = [path for path in self._dataset.pictures() if path.suffix.lower() in SUFFIXES]
        step = max(1, -(-len(found) // _MOST_LABELLED))
        rows = [row for path in found[::step] if (row := self._values_or_none(path)) is not None]
        return np.stack(rows) if rows else np.empty((0, 0), np.float32)

    def _values_or_none(self, path: Path) -> PictureValues | None:
        self._step()
        try:
            content, _ = read_regular_file(path, MAX_IMAGE_BYTES, ImageError)
            return self._values_of(content, load_pixels(content, self._spec))
        except ImageError:
            return None

    def _look_at_pictures(self) -> tuple[PictureValues, Fingerprints, list[int], Any]:
        self._begin("pictures")
        fingerprints, places, unreadable = Fingerprints(), list[int](), list[str]()
        pixels = np.zeros((len(self._paths), _SIDE, _SIDE, 3), np.uint8)
        values: PictureValues | None = None
        for place, path in enumerate(self._paths):
            self._step()
            try:
                content, _ = read_regular_file(self._folder / path, MAX_IMAGE_BYTES, ImageError)
                pixels[place] = load_pixels(content, self._spec)
                row = self._values_of(content, pixels[place])
                if self._model is not None:
                    self._set_scores(place, content, self._model)
            except ImageError as error:
                self._ranking.leave_out(place)
                unreadable.append(str(error))
                continue
            values = np.zeros((len(self._paths), len(row)), np.float32) if values is None else values
            values[place] = row
            fingerprints.add(pixels[place : place + 1])
            places.append(place)
        if unreadable:
            more = f", and {len(unreadable) - _MOST_NAMED} more" if len(unreadable) > _MOST_NAMED else ""
            _log.warning("warning: set aside, as they cannot be read: %s%s", "; ".join(unreadable[:_MOST_NAMED]), more)
        return np.zeros((len(self._paths), 1), np.float32) if values is None else values, fingerprints, places, pixels

    def _set_scores(self, place: int, content: bytes, model: Classifier) -> None:
        scores = dict(zip(model.contract.labels, map(float, model.scores(content)), strict=True))
        self._notes[place] = self.note_of(place)._replace(scores=scores, model=model.sha256)
        self._ranking.set_scores(place, scores)

    def _values_of(self, content: bytes, pixels: Any) -> PictureValues:
        """What a picture is compared by: the model's embedding, or else the colours of its areas."""
        model = self._model
        if model is not None and model.embedding is not None:
            values = model.embed(content)
            if values.size * len(self._paths) <= _MOST_VALUES:
                unit: PictureValues = values / max(float(np.linalg.norm(values)), 1e-9)
                return unit
        side = _SIDE // _AREAS
        areas = pixels.reshape(_AREAS, side, _AREAS, side, 3).mean(axis=(1, 3), dtype=np.float32)
        return (areas / np.float32(255)).ravel()  # type: ignore[no-any-return]


class _EndedError(Exception):
    """The review was ended."""


def _groups(fingerprints: Fingerprints, places: list[int], pixels: Any) -> Iterator[list[int]]:
    """Groups of near copies: a picture with all that are like itself, and not what is only like these."""
    pairs, _ = fingerprints.near_pairs(lambda index: pixels[places[index]], most=_MOST_PAIRS)
    like: dict[int, list[int]] = {group[0]: group[1:] for group in fingerprints.copies()}
    for pair in pairs:
        like.setdefault(pair.first, []).append(pair.second)
        like.setdefault(pair.second, []).append(pair.first)
    grouped: set[int] = set()
    for index in sorted(like, key=lambda index: (-len(like[index]), index)):
        members = [index, *(other for other in dict.fromkeys(like[index]) if other not in grouped)]
        if index not in grouped and len(members) > 1:
            grouped.update(members)
            yield [places[member] for member in members]
