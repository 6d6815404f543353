"""Sealed models that somebody changed and sealed again: the seal is right, and the model is not what it was.

Anybody can compute a seal. So such a model may be refused or answer, but it must not end the process that loads it, nor
hang it, nor raise an error that is not ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.driver import Outcome
from fuzz.model_fields import change_fields
from fuzz.mutations import mutate
from runtime import Classifier, ModelFileError, PocketlensError, read_model, seal

#: Of ten cases: changed fields, changed bytes of the FlatBuffer, changed bytes of the archive behind it.
_KINDS = ("fields",) * 7 + ("bytes",) * 2 + ("archive",)
_DIGEST_LENGTH = 64
#: Seconds. A strange model is tried in a process of its own, with its own limit on processor time.
CASE_SECONDS = 150.0


def cases(paths: list[Path], count: int, seed: int) -> list[list[Any]]:
    """`count` cases [kind, path, seed, number] over the models."""
    return [[_KINDS[n // len(paths) % len(_KINDS)], str(paths[n % len(paths)]), seed, n] for n in range(count)]


def mutant(case: list[Any]) -> bytes:
    """The file of a case: changed, and sealed again."""
    kind, path, seed, number = case
    file = read_model(Path(path))
    if kind == "archive":
        start = len(file.flatbuffer)
        body = file.content[:start] + mutate(file.content[start:-_DIGEST_LENGTH], seed, number)[1]
        return body + hashlib.sha256(body).hexdigest().encode()
    if kind == "fields":
        return seal(change_fields(file.flatbuffer, seed, number), file.contract)
    changed = bytearray(mutate(file.flatbuffer, seed, number)[1])
    changed[4:8] = b"TFL3"
    return seal(bytes(changed), file.contract)


def runner(folder: Path) -> Callable[[list[Any]], tuple[str, str]]:
    """The function that tries a case in the child: it loads the model, and classifies if that succeeds."""
    target = folder / "mutant.tflite"
    rng = np.random.default_rng(0)

    def run(case: list[Any]) -> tuple[str, str]:
        target.write_bytes(mutant(case))
        try:
            with Classifier(target) as classifier:
                for level in (0, 255, None):
                    classifier.classify(_sample(classifier, level, rng))
        except PocketlensError as error:
            return ("refused" if "\n" not in str(error) else "raised"), f"{type(error).__name__}: {error}"
        except Exception as error:
            return "raised", f"{type(error).__name__}: {error}"
        return "answered", ""

    return run


def _sample(classifier: Classifier, level: int | None, rng: np.random.Generator) -> Any:
    """An input of one level, or random."""
    spec = classifier.contract.input
    if spec.kind == "features":
        return rng.standard_normal(spec.shape) if level is None else np.full(spec.shape, level)
    if max(spec.shape) > 1024:
        raise ModelFileError("a changed contract asks for a large input, which is not what is looked for")
    shape = spec.shape[:2] if spec.channels == 1 else spec.shape
    return rng.integers(0, 256, shape, np.uint8) if level is None else np.full(shape, level, np.uint8)


def is_finding(outcome: Outcome) -> bool:
    """Whether a case ended in a signal, a hang, or an unexpected error."""
    return outcome.kind not in ("refused", "answered")
