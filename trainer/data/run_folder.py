"""A run folder, read back for a person to look at."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime import Contract
from runtime.files import shown

from ..errors import RunError

#: The file by which a folder is known to be a run. Not from `run`, which needs TensorFlow.
MARKER = "contract.json"
#: Columns of `history.csv` that are words.
_WORDS = ("phase",)


@dataclass(frozen=True)
class RunFolder:
    """What a training left, without its images and its model.

    Attributes:
        folder: where it lies.
        contract: of the model.
        metrics: `metrics.json`.
        history: the numbers in `history.csv`, one row an epoch.
    """

    folder: Path
    contract: Contract
    metrics: dict[str, Any]
    history: list[dict[str, float]]

    @property
    def name(self) -> str:
        """The folder as it was named, for people."""
        return shown(self.folder)

    @property
    def model_path(self) -> Path:
        """The Keras model."""
        return self.folder / "model.keras"

    @property
    def seconds(self) -> float:
        """How long its epochs took."""
        return sum(row.get("seconds", 0.0) for row in self.history)


def read_run(folder: Path) -> RunFolder:
    """Read a run folder.

    Raises:
        RunError: it is none, or a part of it is missing or not as the trainer writes it.
        ContractError: its contract is one that this version cannot obey.
    """
    if not (folder / MARKER).is_file():
        raise RunError(f"{shown(folder)}: no run folder: it has no {MARKER}; make one with `pocketlens train`")
    try:
        contract = Contract.from_json((folder / MARKER).read_bytes())
        metrics = json.loads((folder / "metrics.json").read_bytes())
        with (folder / "history.csv").open(newline="", encoding="utf-8") as file:
            history = [_numbers(row) for row in csv.DictReader(file)]
        if not (isinstance(metrics, dict) and isinstance(metrics.get("settings"), dict) and history):
            raise ValueError("no settings, or no epochs")
    except FileNotFoundError as error:
        raise RunError(f"{shown(error.filename)}: missing; the run is half there, train again") from error
    except (UnicodeDecodeError, json.JSONDecodeError, TypeError, csv.Error) as error:
        raise _damaged(folder, error) from error
    except ValueError as error:
        if type(error) is not ValueError:  # a ContractError tells enough itself
            raise
        raise _damaged(folder, error) from error
    return RunFolder(folder, contract, metrics, history)


def _numbers(row: dict[str, str]) -> dict[str, float]:
    return {name: float(value) for name, value in row.items() if name not in _WORDS}


def _damaged(folder: Path, error: Exception) -> RunError:
    return RunError(f"{shown(folder)}: its figures are not as the trainer writes them ({error}); train again")
