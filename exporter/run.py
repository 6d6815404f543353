"""Reading a run folder: the hand-off from the trainer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from runtime import Contract, ImageError, PocketlensError
from runtime.files import read_regular_file
from runtime.images import MAX_FILE_BYTES

from .errors import RunFolderError

SPLITS_VERSION = 1
SPLITS = ("train", "validation", "test")


class Images(Protocol):
    """The pictures of a run, or its vectors, by index, as `Classifier` takes them."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Any: ...


@dataclass(frozen=True)
class FileImages:
    """Pictures in files: each is read, and compared with what training saw, when it is asked for."""

    root: Path
    paths: Sequence[str]
    sha256: Sequence[str]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> bytes:
        try:
            content, name = read_regular_file(self.root / self.paths[index], MAX_FILE_BYTES, ImageError)
        except ImageError as error:
            raise RunFolderError(f"{error}; the run needs the images that it was trained on") from error
        if hashlib.sha256(content).hexdigest() != self.sha256[index]:
            raise RunFolderError(f"{name}: changed since training; train again")
        return content


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        folder: where it lies.
        contract: of the model.
        images: all pictures or vectors, of every split.
        targets: int, shape (n,): the class of each; -1 for a calibration image of no known class. Of the task
            multilabel 0 or 1, shape (n, labels).
        splits: indices by name: "train", "validation", "test".
        given: the words of `pocketlens export` that name the material, where it is no run folder.
        model: the model, where it does not lie in the folder.
    """

    folder: Path
    contract: Contract
    images: Images
    targets: npt.NDArray[np.int64]
    splits: dict[str, npt.NDArray[np.int64]]
    given: tuple[str, ...] = ()
    model: Path | None = None

    @property
    def arguments(self) -> tuple[str, ...]:
        """The words of `pocketlens export` that name the material."""
        return self.given or (str(self.folder),)

    @property
    def model_path(self) -> Path:
        """The Keras model."""
        return self.model or self.folder / "model.keras"


def read_run(folder: Path) -> Run:
    """Read a run folder; its images are opened, not loaded.

    Raises:
        RunFolderError: it is missing, or a part of it is missing or not as the trainer writes it.
        ContractError: its contract is one that this version cannot obey.
    """
    if not (folder / "model.keras").is_file():
        raise RunFolderError(f"{folder}: no run folder: it has no model.keras; make one with `pocketlens train`")
    return read_material(folder)


def read_material(folder: Path) -> Run:
    """Read a run folder's contract, images and splits, whether or not its model is there; raises as `read_run`."""
    try:
        contract = Contract.from_json((folder / "contract.json").read_bytes())
        document = json.loads((folder / "splits.json").read_bytes())
        if document.get("version") != SPLITS_VERSION:
            raise RunFolderError(
                f"{folder / 'splits.json'}: version {document.get('version')}, expected 1; train again"
            )
        images = _images(folder, document["images"], contract)
        targets = _targets(document["targets"], contract)
        splits = {name: _indices(document[name], len(images)) for name in SPLITS}
    except OSError as error:
        raise RunFolderError(f"{error.filename}: {error.strerror}; the run is half there, train again") from error
    except PocketlensError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, EOFError) as error:
        raise RunFolderError(
            f"{folder}: its splits or images are not as the trainer writes them ({error!r}); train again"
        ) from error
    if len(targets) != len(images):
        raise RunFolderError(f"{folder}: {len(images)} images and {len(targets)} targets; train again")
    if any((targets[splits[name]] < 0).any() for name in ("validation", "test")):
        raise RunFolderError(f"{folder / 'splits.json'}: an image to measure with has no class; train again")
    if len(np.unique(np.concatenate(list(splits.values())))) != sum(map(len, splits.values())):
        raise RunFolderError(f"{folder / 'splits.json'}: an image is in two splits; train again")
    return Run(folder, contract, images, targets, splits)


def _targets(values: list[Any], contract: Contract) -> npt.NDArray[np.int64]:
    count = len(contract.labels)
    if contract.task != "multilabel":
        return _indices(values, count, least=-1)
    targets = np.zeros((len(values), count), np.int64)
    for row, places in zip(targets, values, strict=True):
        row[_indices(places, count)] = 1
    return targets


def _images(folder: Path, described: dict[str, Any], contract: Contract) -> Images:
    if (described["kind"] == "vectors") != (contract.input.kind == "features"):
        raise ValueError(f"images of kind {described['kind']!r} for a model that takes {contract.input.kind}")
    if described["kind"] == "vectors":
        vectors: npt.NDArray[np.float64] = np.load(folder / "vectors.npy", allow_pickle=False)
        if vectors.dtype != np.float64 or vectors.shape[1:] != contract.input.shape:
            raise ValueError(f"vectors of type {vectors.dtype} and shape {vectors.shape}")
        return vectors
    if described["kind"] == "array":
        # Mapped: an export reads a few hundred training images and the test split of what may be gigabytes.
        # As a plain array, since numpy's memmap costs microseconds at each access.
        array: npt.NDArray[np.uint8] = np.asarray(np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False))
        return array
    if described["kind"] != "files":
        raise ValueError(f"images of kind {described['kind']!r}")
    paths = described["paths"]
    if len(paths) != len(described["sha256"]):
        raise ValueError("paths and digests differ in number")
    for path in paths:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise ValueError(f"path {path!r} leads out of the folder")
    return FileImages(Path(described["root"]), paths, described["sha256"])


def _indices(values: list[int], limit: int, least: int = 0) -> npt.NDArray[np.int64]:
    array = np.asarray(values, np.int64)
    if array.ndim != 1 or (array.size and not least <= array.min() <= array.max() < limit):
        raise ValueError(f"an index is not in {least}..{limit - 1}")
    return array
