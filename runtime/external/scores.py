"""Whether the outputs of a model are probabilities, and what makes probabilities of them if they are not."""

from __future__ import annotations

from typing import NamedTuple, NoReturn

from ..contract import AS_IS, PROBABILITIES, SIGMOID, SOFTMAX, Contract
from ..errors import ContractError
from ..tflite.graph import TensorInfo
from ..tflite.model import Structure

_LOWEST = {"UINT8": 0, "INT8": -128}
#: The quantization that TensorFlow Lite prescribes for the outputs of SOFTMAX and LOGISTIC.
_PROBABILITY_STEP = 1 / 256


class ChosenScores(NamedTuple):
    """A contract's `scores`, and why it is so; "" if there is nothing to say."""

    scores: str
    note: str = ""


def needs_scores(structure: Structure) -> bool:
    """Whether the last operator leaves open what the outputs are, so that a person has to say it."""
    ending = structure.ending
    known = ending.operator in ("SOFTMAX", "LOGISTIC", "LOG_SOFTMAX")
    by_range = _has_range_of_probabilities(structure.outputs[0]) if structure.outputs else False
    return not known and by_range == ending.linear


def choose_scores(structure: Structure, task: str, given_task: str | None, wanted: str | None) -> ChosenScores:
    """What makes scores of the outputs.

    Args:
        structure: of a model with one output.
        task: the task of its contract.
        given_task: the task that a person gave; None if it was concluded.
        wanted: `"softmax"`, `"sigmoid"` or `"as-is"`; None leaves it to the last operator.

    Raises:
        ContractError: the scores would be wrong, or the last operator does not say what the outputs are.
    """
    ending = structure.ending
    if ending.operator == "SOFTMAX" and ending.width == 1:
        raise ContractError(
            "it ends with a softmax over one unit, which always answers 1; convert it with a sigmoid there"
        )
    if wanted is None:
        return _concluded(structure, task, given_task)
    if wanted == AS_IS:
        return _as_is(structure, task)
    if wanted not in (SOFTMAX, SIGMOID):
        raise ContractError(f"scores is {wanted!r}, expected {SOFTMAX}, {SIGMOID} or {AS_IS}")
    if ending.operator in ("SOFTMAX", "LOGISTIC"):
        raise ContractError(
            f"it ends with {ending.operator}, so its outputs are probabilities already; leave out `scores`"
        )
    if wanted == SOFTMAX and task != "multiclass":
        raise ContractError(f"`scores=softmax` does not fit the task {task}; give `scores=sigmoid`")
    if wanted == SIGMOID and task == "multiclass" and _width(structure) == 2:
        _refuse_two_sigmoids("`scores=softmax`")
    return ChosenScores(wanted)


def check_contract_scores(structure: Structure, contract: Contract) -> None:
    """Refuse a contract that takes logits for probabilities; raises ContractError."""
    ending = structure.ending
    if contract.scores == PROBABILITIES and ending.linear and not _has_range_of_probabilities(structure.outputs[0]):
        cure = SOFTMAX if contract.task == "multiclass" else SIGMOID
        raise ContractError(
            f"it ends with {ending.operator}, so its outputs are logits, and its contract takes them for "
            f"probabilities; give the contract scores={cure!r}"
        )


def _concluded(structure: Structure, task: str, given_task: str | None) -> ChosenScores:
    ending = structure.ending
    if needs_scores(structure):
        raise ContractError(
            f"it ends with {ending.operator or 'no operator'}, which does not say whether its outputs are "
            "probabilities; give `scores=softmax`, `scores=sigmoid` or `scores=as-is`"
        )
    if ending.operator == "SOFTMAX" and task == "multilabel":
        raise ContractError(
            "it ends with SOFTMAX, whose outputs exclude each other, so `task=multilabel` does not fit; leave it out"
        )
    if ending.operator == "LOGISTIC" and task == "multiclass" and given_task is None:
        if _width(structure) == 2:
            _refuse_two_sigmoids("`scores=as-is` to take them so")
        return ChosenScores(PROBABILITIES, "it ends with LOGISTIC, each output by itself: is `task=multilabel` meant?")
    if ending.operator != "LOG_SOFTMAX" and not ending.linear:
        return ChosenScores(PROBABILITIES)
    scores = SOFTMAX if task == "multiclass" else SIGMOID
    if ending.operator == "LOG_SOFTMAX" and scores == SIGMOID:
        raise ContractError(f"it ends with LOG_SOFTMAX, whose outputs exclude each other; the task {task} does not fit")
    return ChosenScores(
        scores,
        f"it ends with {ending.operator}, so its outputs are logits: {scores} makes probabilities of them "
        "(`scores=as-is` leaves them as they are)",
    )


def _as_is(structure: Structure, task: str) -> ChosenScores:
    ending = structure.ending
    if ending.operator in ("SOFTMAX", "LOGISTIC"):
        return ChosenScores(PROBABILITIES)
    if task == "binary" and ending.linear:
        raise ContractError(
            f"it ends with {ending.operator}, so its one output is a logit, which cannot be taken as it is; "
            "give `scores=sigmoid`"
        )
    return ChosenScores(AS_IS, 'its scores are taken as they are: nothing is compared with `min_score`, or "unknown"')


def _refuse_two_sigmoids(cure: str) -> NoReturn:
    raise ContractError(
        "two sigmoids, one for each of its two outputs, need not sum to one: give `task=multilabel` if both labels can "
        f"hold at once, or {cure}"
    )


def _width(structure: Structure) -> int:
    return max(structure.outputs[0].shape)


def _has_range_of_probabilities(output: TensorInfo) -> bool:
    return (
        output.type in _LOWEST
        and len(output.scale) == 1
        and abs(output.scale[0] / _PROBABILITY_STEP - 1) < 0.01
        and (output.zero_point or (0,))[0] == _LOWEST[output.type]
    )
