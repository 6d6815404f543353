"""What a model answers to samples: a Keras model here, a TensorFlow Lite file in a process as on a device."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime import Contract, make_preprocessor
from runtime.files import shown
from runtime.progress import progress

from ..data.run_folder import RunFolder
from ..data.sources import Indices, Source
from ..errors import RunError
from .worker import ANSWERS, DESCRIPTION, REASON

Scores = npt.NDArray[np.float32]

_BATCH = 128
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


def score_keras(run: RunFolder, source: Source, chosen: Indices) -> Scores:
    """Scores of a run's Keras model, float32 (n, labels); of the task binary both labels'.

    Every sample is prepared as on a device, and no more than a batch of them is in memory.

    Raises:
        DatasetError: a sample cannot be read any more.
        ImageError: it cannot be decoded.
        RunError: the model cannot be loaded, or answers with something that is no number.
    """
    from ..keras_inspection.archive import load_keras_model

    model, prepare = load_keras_model(run.model_path), make_preprocessor(run.contract.input)
    parts, prepared = [], source.map(chosen.tolist(), prepare)
    with progress(len(chosen), "scoring model.keras") as bar:
        while batch := list(itertools.islice(prepared, _BATCH)):
            parts.append(np.asarray(model(np.concatenate(batch), training=False)))
            bar.update(len(batch))
    return _checked(np.concatenate(parts), run)


def _checked(scores: Scores, run: RunFolder) -> Scores:
    contract: Contract = run.contract
    if scores.shape[1:] != (contract.outputs,):
        raise RunError(
            f"{run.name}: the model answers {scores.shape[1:]}, its contract says {contract.outputs} outputs"
        )
    if not np.isfinite(scores).all():
        raise RunError(f"{run.name}: the model gave scores that are not numbers (NaN); train again")
    return np.concatenate([1 - scores, scores], axis=1) if contract.task == "binary" else scores


def score_file(model: Path, source: Source, chosen: Indices) -> tuple[Scores, str]:
    """Scores of a TensorFlow Lite file, float32 (n, labels), and the interpreter that ran it.

    Raises:
        RunError: its process failed.
    """
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as folder:
        job = Path(folder)
        (job / DESCRIPTION).write_text(json.dumps(source.select(chosen).write(job)), encoding="utf-8")
        # Run from where the package lies, so that no file of the user's folder can be imported in its place.
        command = [sys.executable, "-m", "trainer.evaluation.worker", str(model.resolve()), str(job)]
        status = subprocess.run(command, cwd=_PACKAGE_ROOT, check=False).returncode
        if status != 0:
            reason = job / REASON
            told = reason.read_text(encoding="utf-8") if reason.is_file() else f"its process ended with status {status}"
            raise RunError(f"{shown(model)}: cannot be scored: {told}")
        with np.load(job / ANSWERS, allow_pickle=False) as found:
            return found["scores"], str(found["interpreter"])
