"""What makes scores honest: a temperature and a threshold, fitted on validation images to each file by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from runtime import Confidence
from runtime.postprocessing import score_floor, temper
from trainer.evaluation.statistics import DECISION, Answers

from .accuracy import Scored

Scores = npt.NDArray[np.float32]

#: Between these the temperature is sought. Beyond them scores are all alike, or all 0 and 1.
_LEAST, _MOST = 0.05, 20.0
_STEPS = 60
_DECIMALS = 4
_THRESHOLD_DECIMALS = 6
#: How far the scores of one picture may be from a sum of 1, in the median: 8 bits round each of them.
_SUM_TOLERANCE = 0.1


class Fitted(NamedTuple):
    """A confidence, and what a person should know of it, a line each."""

    confidence: Confidence
    notes: tuple[str, ...] = ()


def fit_confidence(scored: Scored, name: str, task: str, false_accept_rate: float | None = None) -> Fitted:
    """Temperature and threshold of one file.

    Args:
        scored: what the file answered to validation images.
        name: of the file, for notes.
        task: of the contract.
        false_accept_rate: of the wrong answers, the share that may be given all the same, 0 to 1; without it no
            threshold is fitted.
    """
    if task == "multilabel":
        return _fit_labels(scored, name, false_accept_rate)
    plain, targets = scored.plain, scored.targets
    total = float(np.median(plain.sum(axis=1)))
    if plain.min() < -_SUM_TOLERANCE or abs(total - 1) > _SUM_TOLERANCE:
        reason = f"{name}: no temperature: its scores are no probabilities (their sum is {total:.3g}, expected 1)"
        fitted, tempered = Fitted(Confidence(), (f"{reason}; let the model end with a softmax",)), plain
    else:
        floor = score_floor(scored.step, plain.shape[1])
        temperature = fit_temperature(plain, targets, floor)
        fitted = Fitted(Confidence(temperature))
        tempered = plain if temperature == 1 else temper(plain, temperature, floor)
    if false_accept_rate is None:
        return fitted
    threshold, note = fit_threshold(tempered, targets, false_accept_rate)
    notes = (*fitted.notes, *([f"{name}: {note}"] if note else []))
    return Fitted(fitted.confidence._replace(threshold=threshold), notes)


def _fit_labels(scored: Scored, name: str, false_accept_rate: float | None) -> Fitted:
    """The confidence of multilabel: each label of each picture is a question of its own, answered yes or no.

    A label is given from a half on, which a temperature leaves where it is; or from where, of the labels that are not
    on a picture, only the share asked for is given.
    """
    plain, targets = scored.plain, scored.targets
    if plain.min() < -_SUM_TOLERANCE or plain.max() > 1 + _SUM_TOLERANCE:
        reason = f"{name}: no temperature: its scores are no probabilities; let the model end with sigmoids"
        return Fitted(Confidence(threshold=DECISION), (reason,))
    floor = score_floor(scored.step, plain.shape[1])
    yes_or_no = np.stack([1 - plain, plain], axis=-1)
    temperature = fit_temperature(yes_or_no.reshape(-1, 2), targets.reshape(-1), floor)
    if false_accept_rate is None:
        return Fitted(Confidence(temperature, DECISION))
    tempered = plain if temperature == 1 else temper(plain, temperature, floor, independent=True)
    absent = tempered[targets == 0]
    if not len(absent):
        return Fitted(Confidence(temperature), (f"{name}: no threshold: every validation image has every label",))
    threshold, note = least_threshold(absent, false_accept_rate, "absent labels of validation images")
    return Fitted(Confidence(temperature, threshold), (f"{name}: {note}",) if note else ())


def fit_temperature(scores: Scores, targets: Answers, floor: float) -> float:
    """The temperature under which the truth is the least surprising.

    The log-likelihood counts the truth with (n + 1) / (n + 2), and the other classes evenly with the rest: n pictures
    that are all answered right are no proof that the next one is.

    Args:
        scores: shape (n, classes), probabilities.
        targets: shape (n,), n at least 1.
        floor: from `score_floor`.

    Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, On calibration of modern neural networks, ICML 2017; the
    weights as in J. Platt, Probabilistic outputs for support vector machines, 1999.
    """
    logs = np.log(np.maximum(scores.astype(np.float64), floor))
    count, classes = logs.shape
    rest = 1 / (count + 2)
    truth = logs[np.arange(count), targets]
    others = (logs.sum(axis=1) - truth) / (classes - 1)
    wanted = float(((1 - rest) * truth + rest * others).mean())
    logs -= logs.max(axis=1, keepdims=True)
    offset = float(np.log(np.maximum(scores.max(axis=1), floor)).mean())

    def surprise(log_temperature: float) -> float:
        inverse = math.exp(-log_temperature)
        normaliser = float(np.log(np.exp(inverse * logs).sum(axis=1)).mean()) + inverse * offset
        return normaliser - inverse * wanted

    found = math.exp(least_argument(surprise, math.log(_LEAST), math.log(_MOST)))
    return round(found, _DECIMALS)


def least_argument(function: Callable[[float], float], low: float, high: float, steps: int = _STEPS) -> float:
    """Where a function with one valley between `low` and `high` is least, by golden sections.

    Source: J. Kiefer, Sequential minimax search for a maximum, Proceedings of the AMS 4, 1953.
    """
    golden = (math.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(steps):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = function(right)
    return (low + high) / 2


def fit_threshold(scores: Scores, targets: Answers, rate: float) -> tuple[float, str]:
    """The least threshold at which at most a share of the wrong answers is accepted, and a note where it is unsure.

    Of n wrong answers k may be accepted if (k + 1) / (n + 1) is within the rate: then the next wrong answer is, too,
    accepted with at most that probability, whatever the scores' distribution.

    Args:
        scores: shape (n, classes), as the runtime compares them.
        targets: shape (n,).
        rate: 0 to 1.

    Source: V. Vovk, A. Gammerman, G. Shafer, Algorithmic learning in a random world, 2005 (split conformal).
    """
    wrong = scores.max(axis=1)[scores.argmax(axis=1) != targets]
    if not len(wrong):
        return 0.0, "no threshold: no validation image is answered wrong"
    return least_threshold(wrong, rate, "wrong answers to validation images")


def least_threshold(scores: Scores, rate: float, what: str) -> tuple[float, str]:
    """The least threshold that at most a share of the next scores of this kind reaches; as `fit_threshold`.

    Args:
        scores: shape (n,), of what should be rejected; n at least 1.
        what: they are, in the plural, for notes.
    """
    wrong = np.sort(scores)[::-1]
    allowed = math.floor(rate * (len(wrong) + 1) + 1e-9) - 1
    note = ""
    if allowed < 0:
        needed = f"{math.ceil(1 / rate) - 1}" if rate else "more than any number of"
        note = (
            f"the threshold rejects all {len(wrong)} {what}; a false-accept rate of "
            f"{rate:g} is sure only with {needed} of them"
        )
    if allowed >= len(wrong):
        return 0.0, note
    best_rejected = float(wrong[max(0, allowed)])
    unit = 10.0**-_THRESHOLD_DECIMALS
    above = math.floor(best_rejected / unit + 1) * unit
    return min(1.0, round(above, _THRESHOLD_DECIMALS)), note
