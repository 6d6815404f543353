"""Trying a model in a child process, which it may take down: its self-test, and pictures with known answers.

The pictures, called canaries, lie in a folder with one subfolder for each label, as in a data set. A subfolder called
`unknown` holds pictures that the model must not recognize.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from ..child_limits import ChildLimits
from ..child_process import ChildError, call_in_child
from ..errors import DeploymentError, ImageError
from ..files import is_hidden_name, shown

#: Pictures that are tried; of more, the first ones of each label.
MOST_CANARIES = 20
#: A slow board loads a large model, and answers 20 large photos.
_TIMEOUT_S = 600
_LIMITS = ChildLimits(cpu_seconds=_TIMEOUT_S, memory_bytes=2 * 2**30, network=False)
_IN_CHILD = f"{__name__}:run_here"
_UNKNOWN = "unknown"  # as `postprocessing.UNKNOWN`, which brings numpy


class Canary(NamedTuple):
    """A picture with its known answer.

    Attributes:
        path: the picture.
        label: the answer.
    """

    path: str
    label: str


class CandidateTrial(NamedTuple):
    """What a model has done with the canaries.

    Attributes:
        selftest: what the self-test has compared, in one line; "" where it was not run.
        right: the canaries that it answers right.
        wrong: the others, each with its answer.
    """

    selftest: str
    right: tuple[Canary, ...]
    wrong: tuple[tuple[Canary, str], ...]


def find_canaries(folder: Path | None, labels: Collection[str]) -> tuple[Canary, ...]:
    """The canaries of a folder, in the order of their names, at most `MOST_CANARIES`: as many of each label.

    Args:
        folder: the folder; None for no canaries.
        labels: the labels of the model that is to be tried.

    Raises:
        DeploymentError: it cannot be read, holds no pictures, or a subfolder is no label.
    """
    if folder is None:
        return ()
    try:
        names = sorted(each.name for each in os.scandir(folder) if each.is_dir() and not is_hidden_name(each.name))
        strange = next((name for name in names if name not in labels and name != _UNKNOWN), None)
        if strange is not None:
            raise DeploymentError(
                f"{shown(folder / strange)}: {shown(strange)!r} is no label of the new model; rename the folder of "
                "canaries, or move it away"
            )
        found = [[Canary(str(path), name) for path in _pictures(folder / name)] for name in names]
    except OSError as error:
        raise DeploymentError(f"{shown(folder)}: {error.strerror}; name a folder of canaries by `canaries`") from error
    rounds = zip_longest(*found)
    chosen = [canary for one_each in rounds for canary in one_each if canary is not None][:MOST_CANARIES]
    if not chosen:
        raise DeploymentError(
            f"{shown(folder)}: no canaries; put pictures into subfolders that are called as their labels, or leave out "
            "`canaries`"
        )
    return tuple(chosen)


def _pictures(folder: Path) -> list[str]:
    return sorted(each.path for each in os.scandir(folder) if each.is_file() and not is_hidden_name(each.name))


def try_candidate(model: Path, canaries: Sequence[Canary], *, selftest: bool) -> CandidateTrial:
    """Try a model in a child process.

    Args:
        model: the model file.
        canaries: pictures with known answers.
        selftest: run the self-test of the file too.

    Raises:
        DeploymentError: it does not load, fails its self-test or has none, ends its process, or a canary cannot be
            read.
    """
    try:
        found = call_in_child(
            _IN_CHILD,
            str(model),
            [list(canary) for canary in canaries],
            selftest,
            timeout=_TIMEOUT_S,
            limits=_LIMITS,
            variables={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},  # their threads would take the memory
        )
    except ChildError as error:
        raise DeploymentError(f"{error}; nothing is changed") from error
    right = tuple(canary for canary, answer in zip(canaries, found["answers"], strict=True) if answer is None)
    wrong = tuple(
        (canary, str(answer)) for canary, answer in zip(canaries, found["answers"], strict=True) if answer is not None
    )
    return CandidateTrial(str(found["selftest"]), right, wrong)


def run_here(model: str, canaries: Sequence[tuple[str, str]], selftest: bool) -> dict[str, Any]:
    """Try a model in this process; for a child.

    Returns:
        `selftest`, a line; and `answers`: for each canary None if it was answered right, else the wrong answer.

    Raises:
        ModelFileError, ContractError, InterpreterError: the model does not load or run, or has no self-test.
        DeploymentError: it fails its self-test, or a canary cannot be read.
    """
    from ..classifier import Classifier
    from ..selftest.runner import run_selftest

    line = ""
    if selftest:
        outcome = run_selftest(model)
        line = outcome.text()
        if not outcome.passed:
            raise DeploymentError(f"the self-test {line}")
    classifier = Classifier(model)
    return {"selftest": line, "answers": [_wrong_answer(classifier, *canary) for canary in canaries]}


def _wrong_answer(classifier: Any, path: str, label: str) -> str | None:
    try:
        predictions = classifier.classify(path)
    except ImageError as error:
        raise DeploymentError(f"{error}; replace this canary, or remove it") from error
    several = classifier.contract.task == "multilabel"
    labels = [prediction.label for prediction in (predictions if several else predictions[:1])]
    return None if label in labels else ", ".join(labels)
