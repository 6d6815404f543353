"""Sealed models that somebody changed and sealed again: the seal is right, and the model is not what it was.

Anybody can compute a seal. So such a model may be refused or answer, but it must not end the process that loads it, nor
hang it, nor raise an error that is not ours.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.driver import Outcome
from fuzz.model_fields import change_fields
from fuzz.mutations import mutate
from runtime import Classifier, ModelFileError, PocketlensError, read_model, seal
from runtime.model_file import SEAL, ModelFile

#: Of ten cases: changed fields and changed bytes of the FlatBuffer, changed bytes of the archive behind it, and changed
#: values in the JSON of the archive's members.
_KINDS = ("fields",) * 6 + ("bytes",) * 2 + ("archive", "values")
#: Values that JSON can hold and that a field may not expect.
_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 255, 2**31, 10**400, 1e308, 1e-308, float("nan"), float("inf")),
    *("", "x" * 5000, "\x1b[31m", "\ud800", "multilabel", "sigmoid", [], {}, [None], [[[]]] * 99, [1] * 10_000),
)
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
    if kind == "values":
        return _with_values(file, np.random.default_rng([seed, number]))
    if kind == "fields":
        return seal(change_fields(file.flatbuffer, seed, number), file.contract)
    changed = bytearray(mutate(file.flatbuffer, seed, number)[1])
    changed[4:8] = b"TFL3"
    return seal(bytes(changed), file.contract)


def _with_values(file: ModelFile, rng: np.random.Generator) -> bytes:
    """The file with one or two values changed in the JSON of a member."""
    with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    names = [name for name in members if name.endswith(".json")]
    chosen = names[rng.integers(len(names))]
    document = json.loads(members[chosen])
    for _ in range(int(rng.integers(1, 3))):
        places = list(_values(document))
        holder, key = places[rng.integers(len(places))]
        holder[key] = copy.deepcopy(_VALUES[rng.integers(len(_VALUES))])
    members[chosen] = json.dumps(document).encode()
    sealed = io.BytesIO(file.flatbuffer)
    with zipfile.ZipFile(sealed, "a", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.comment = SEAL + b"0" * _DIGEST_LENGTH
    body = sealed.getvalue()[:-_DIGEST_LENGTH]
    return body + hashlib.sha256(body).hexdigest().encode()


def _values(document: Any) -> Iterator[tuple[Any, Any]]:
    """Each list or object under a value, with each of its indices or keys."""
    keys = document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    for key in keys:
        yield document, key
        yield from _values(document[key])


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
