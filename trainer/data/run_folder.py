"""The one reader of a run folder, the hand-off of a training, and the writer of its splits. Without TensorFlow.

`trainer.run_writer` lists the files of the folder.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import Contract, PocketlensError
from runtime.errors import shown_value
from runtime.files import read_regular_file, shown, write_whole
from runtime.recognition import recognize

from ..errors import RunError
from .shared_arrays import share_array
from .sources import Indices, Source, VectorSource, read_source

#: The file by which a folder is known to be a run.
RUN_MARKER = "contract.json"
#: The drawing of the decision boundary, in a run folder and beside exported models.
BOUNDARY = "boundary.png"
SPLITS_VERSION = 1
SPLIT_NAMES = ("train", "validation", "test")
_MAX_TEXT_BYTES = 2**30
#: What deeply nested JSON, and numbers of hundreds of digits, raise.
_HOSTILE = (RecursionError, OverflowError)
#: Columns of `history.csv` that hold text.
_TEXT_COLUMNS = ("phase",)


@dataclass(frozen=True)
class RunFolder:
    """A run folder, or a model that was trained elsewhere with folders of images.

    Attributes:
        folder: the path of the folder.
        contract: the contract of the model.
        source: all samples of every split.
        targets: int64 (n,), the class of each sample; -1 for a training sample of no known class, which a run of the
            trainer never has. For the task multilabel 0 or 1, shape (n, labels).
        splits: indices by name: "train", "validation", "test". No sample is in two of them.
        model: the path of a model that was trained elsewhere; None for the model in the folder.
        notes: what was noticed in the folders of images of such a model, for its report, a line each.
    """

    folder: Path
    contract: Contract
    source: Source
    targets: npt.NDArray[np.int64]
    splits: Mapping[str, Indices]
    model: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The folder's path in printable form."""
        return shown(self.folder)

    @property
    def is_external(self) -> bool:
        """Whether the model was trained elsewhere."""
        return self.model is not None

    @property
    def model_path(self) -> Path:
        """The Keras model."""
        return self.model or self.folder / "model.keras"

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """`metrics.json`.

        Raises:
            RunError: it is missing, or not as the trainer writes it.
        """
        with _explained(self.folder, "figures"):
            metrics = json.loads(read_run_file(self.folder / "metrics.json"))
            if not (isinstance(metrics, dict) and isinstance(metrics.get("settings"), dict)):
                raise ValueError("no settings")
            return metrics

    @cached_property
    def history(self) -> list[dict[str, float]]:
        """The numbers in `history.csv`, one row an epoch, at least one.

        Raises:
            RunError: it is missing, or not as the trainer writes it.
        """
        with _explained(self.folder, "figures"):
            text = read_run_file(self.folder / "history.csv").decode()
            history = [
                {name: float(value) for name, value in row.items() if name not in _TEXT_COLUMNS}
                for row in csv.DictReader(io.StringIO(text, newline=""))
            ]
            if not history:
                raise ValueError("no epochs")
            return history

    @property
    def seconds(self) -> float:
        """The time of all epochs together."""
        return sum(row.get("seconds", 0.0) for row in self.history)


def read_run(folder: Path | str) -> RunFolder:
    """Read a run folder; its images are opened, not loaded.

    Raises:
        RunError: a part of the folder is missing, or not as the trainer writes it.
        ContractError: this version cannot obey the contract.
    """
    folder = Path(folder)
    for name in (RUN_MARKER, "model.keras"):
        if not (folder / name).is_file():
            reason = why_no_run(folder)
            inside = min(folder.glob(f"*/{RUN_MARKER}"), default=None)
            cure = f"did you mean {str(inside.parent)!r}?" if inside else "make one with `pocketlens train`"
            raise RunError(reason or f"{shown(folder)}: no run folder: it has no {name}; {cure}")
    with _explained(folder, "splits or images"):
        contract = Contract.from_json(read_run_file(folder / RUN_MARKER))
        document = json.loads(read_run_file(folder / "splits.json"))
        if document.get("version") != SPLITS_VERSION:
            version = shown_value(document.get("version"))
            raise RunError(
                f"{shown(folder / 'splits.json')}: version {version}, expected {SPLITS_VERSION}; train again"
            )
        source = read_source(folder, document["images"])
        _check_kind(source, contract)
        targets = _read_targets(document["targets"], contract)
        if len(targets) != len(source):
            raise ValueError(f"{len(source)} images and {len(targets)} targets")
        splits = {name: _read_indices(document[name], len(source)) for name in SPLIT_NAMES}
        _check_splits(splits, targets)
    return RunFolder(folder, contract, source, targets, splits)


def why_no_run(path: Path) -> str:
    """What stands in the place of a run folder, and what to do; "" for a folder of an unknown kind."""
    found = recognize(path)
    cures = {
        "tflite": "`pocketlens info` and `pocketlens evaluate` examine it",
        "models": "name the run folder that they were made from",
        "keras": "`pocketlens export` takes it with its labels and images",
        "savedmodel": "`pocketlens export` takes it with its labels and images",
    }
    if found.kind in ("folder", "run"):
        return ""
    return f"{shown(path)}: {found.text}, no run folder; {cures.get(found.kind, 'make one with `pocketlens train`')}"


def read_run_file(path: Path) -> bytes:
    """The bytes of a text file in a run folder; a pipe or a device in its place is never waited for.

    Raises:
        OSError: it is missing or cannot be read.
        RunError: it is not a regular file, or too large.
    """
    path.stat()  # a missing file has its own message
    return read_regular_file(path, _MAX_TEXT_BYTES, RunError)[0]


def write_splits(
    folder: Path, source: Source, targets: npt.NDArray[Any], task: str, splits: Iterable[tuple[str, Indices]]
) -> None:
    """Write `splits.json` of a run folder, and the samples where they do not lie in files.

    Args:
        source, targets, task: as in `RunFolder`.
        splits: each of `SPLIT_NAMES` with its indices.

    Raises:
        OSError: the folder cannot be written.
    """
    images = source.write(folder)
    if "file" in images:
        images |= share_array(folder / images["file"])
    document = {
        "version": SPLITS_VERSION,
        "images": images,
        "targets": [np.flatnonzero(row).tolist() for row in targets] if task == "multilabel" else targets.tolist(),
        **{name: indices.tolist() for name, indices in splits},
    }
    write_whole(folder / "splits.json", (json.dumps(document) + "\n").encode())


@contextmanager
def _explained(folder: Path, what: str) -> Iterator[None]:
    """Turn errors of reading and parsing into a RunError."""
    try:
        yield
    except PocketlensError:
        raise
    except OSError as error:
        reason = "missing" if isinstance(error, FileNotFoundError) else error.strerror
        raise RunError(f"{shown(error.filename)}: {reason}; the run is half there, train again") from error
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, EOFError, csv.Error, *_HOSTILE) as error:
        reason = str(error) if type(error) in (ValueError, *_HOSTILE) else repr(error)
        raise RunError(
            f"{shown(folder)}: its {what} are not as the trainer writes them ({reason}); train again"
        ) from error


def _check_kind(source: Source, contract: Contract) -> None:
    is_vectors = isinstance(source, VectorSource)
    if is_vectors != (contract.input.kind == "features"):
        raise ValueError(f"{type(source).__name__} for a model that takes {contract.input.kind}")
    if isinstance(source, VectorSource) and source.vectors.shape[1:] != contract.input.shape:
        raise ValueError(f"vectors of shape {source.vectors.shape}, expected (n, {contract.input.shape[0]})")


def _read_targets(values: list[Any], contract: Contract) -> npt.NDArray[np.int64]:
    """The targets; for the task multilabel the document has the places of each sample's labels."""
    count = len(contract.labels)
    if contract.task != "multilabel":
        return _read_indices(values, count, least=-1)
    targets = np.zeros((len(values), count), np.int64)
    for row, places in zip(targets, values, strict=True):
        row[_read_indices(places, count)] = 1
    return targets


def _read_indices(values: list[int], limit: int, least: int = 0) -> Indices:
    array = np.asarray(values, np.int64)
    if array.ndim != 1 or (array.size and not least <= array.min() <= array.max() < limit):
        raise ValueError(f"an index is not in {least}..{limit - 1}")
    return array


def _check_splits(splits: Mapping[str, Indices], targets: npt.NDArray[np.int64]) -> None:
    if any((targets[splits[name]] < 0).any() for name in ("validation", "test")):
        raise ValueError("a sample to measure with has no class")
    members = np.concatenate([*splits.values()])
    if len(np.unique(members)) != len(members):
        raise ValueError("a sample is in two splits, or twice in one")
