"""Mutants of models without a seal, like those that others make: they may only kill the child that tries them.

No hash shows that such a file was changed. If only its weights are damaged, the model runs and answers like any other.
So both an answer and a refusal are right here; a signal, a hang or another error is a finding.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.driver import Outcome
from fuzz.models import cases as cases
from fuzz.models import mutant
from runtime import Classifier, InterpreterError, ModelFileError, read_model

LABELS = tuple("0123456789")
#: Seconds. A trial starts a process that imports numpy and an interpreter, with its own limit on processor time.
CASE_SECONDS = 150.0


def make_models(sealed: list[Path], folder: Path) -> list[Path]:
    """Write the FlatBuffers of sealed models without their seals; return the paths."""
    paths = []
    for path in sealed:
        paths.append(folder / f"foreign-{path.name}")
        paths[-1].write_bytes(read_model(path).flatbuffer)
    return paths


def runner(folder: Path) -> Callable[[list[Any]], tuple[str, str]]:
    """The function that tries a case in the child: it loads the model, and classifies if that succeeds."""
    target = folder / "mutant.tflite"

    def run(case: list[Any]) -> tuple[str, str]:
        target.write_bytes(mutant(case))
        try:
            with Classifier(target, labels=LABELS) as classifier:
                height, width, _ = classifier.contract.image_input.shape
                classifier.scores(np.zeros((height, width), np.uint8))
        except (ModelFileError, InterpreterError) as error:
            return "refused", str(error)
        except Exception as error:
            return "raised", f"{type(error).__name__}: {error}"
        return "answered", ""

    return run


def is_finding(outcome: Outcome) -> bool:
    """Whether a case ended in a signal, a hang, or an unexpected error."""
    return outcome.kind not in ("refused", "answered")
