"""Mutants of models without a seal, as others make them: the child that tries them may die, this process may not.

No hash tells that such a file was changed. Damage to its weights alone gives a model that runs and answers, as any
other does; so both an answer and a refusal keep the promise here, and a signal, a hang or another error breaks it.
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
#: A trial is a process that imports numpy and an interpreter; it has a limit of its own on processor time.
CASE_SECONDS = 150.0


def make_models(sealed: list[Path], folder: Path) -> list[Path]:
    """The FlatBuffers alone of sealed models."""
    paths = []
    for path in sealed:
        paths.append(folder / f"foreign-{path.name}")
        paths[-1].write_bytes(read_model(path).flatbuffer)
    return paths


def runner(folder: Path) -> Callable[[list[Any]], tuple[str, str]]:
    """What the child does with a case: load, and answer where it loads."""
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
    """A signal, a hang, or an error of another kind."""
    return outcome.kind not in ("refused", "answered")
