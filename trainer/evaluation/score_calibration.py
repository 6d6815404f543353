"""Temperature and threshold: fitted for each model file on its predictions for the validation split."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from runtime import Confidence
from runtime.postprocessing import apply_temperature, score_floor

from .decision_threshold import ThresholdRule, choose_threshold
from .predictions import DECISION_THRESHOLD, Predictions, Scores, Targets

#: The temperature is searched between these. Beyond them scores are all equal, or all 0 and 1.
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.05, 20.0
_STEPS = 60
_TEMPERATURE_DECIMALS = 4
_THRESHOLD_DECIMALS = 6
#: How far the median sum of a sample's scores may be from 1: 8 bits round each of them.
_SUM_TOLERANCE = 0.1


class FittedConfidence(NamedTuple):
    """A temperature and a threshold, and notes for people, one line each."""

    confidence: Confidence
    notes: tuple[str, ...] = ()


def fit_confidence(predictions: Predictions, name: str, false_accept_rate: float | None = None) -> FittedConfidence:
    """Fit the temperature and the threshold of one model file.

    Args:
        predictions: of the file, for the validation split.
        name: of the file, for notes.
        false_accept_rate: the share of wrong predictions that may reach the threshold, 0 to 1; without it no threshold
            is fitted.
    """
    if predictions.task == "multilabel":
        return _fit_multilabel(predictions, name, false_accept_rate)
    calibrated, targets = predictions.uncalibrated, predictions.targets
    temperature, notes = 1.0, []
    total = float(np.median(calibrated.sum(axis=1)))
    if calibrated.min() < -_SUM_TOLERANCE or abs(total - 1) > _SUM_TOLERANCE:
        reason = f"{name}: no temperature: its scores are no probabilities (their sum is {total:.3g}, expected 1)"
        notes.append(f"{reason}; let the model end with a softmax")
    else:
        floor = score_floor(predictions.output_step, calibrated.shape[1])
        temperature = fit_temperature(calibrated, targets, floor)
        calibrated = calibrated if temperature == 1 else apply_temperature(calibrated, temperature, floor)
    if false_accept_rate is None:
        return FittedConfidence(Confidence(temperature), tuple(notes))
    threshold, note = fit_threshold(calibrated, targets, false_accept_rate)
    notes += [f"{name}: {note}"] if note else []
    return FittedConfidence(Confidence(temperature, threshold), tuple(notes))


def _fit_multilabel(predictions: Predictions, name: str, false_accept_rate: float | None) -> FittedConfidence:
    """Fit the confidence of multilabel, where each label of each sample is a binary question of its own.

    A label is predicted from one half on, which a temperature leaves unchanged. With a false-accept rate, the threshold
    is chosen so that only this share of the labels that samples do not have is predicted.
    """
    scores, targets = predictions.uncalibrated, predictions.targets
    if scores.min() < -_SUM_TOLERANCE or scores.max() > 1 + _SUM_TOLERANCE:
        reason = f"{name}: no temperature: its scores are no probabilities; let the model end with sigmoids"
        return FittedConfidence(Confidence(threshold=DECISION_THRESHOLD), (reason,))
    floor = score_floor(predictions.output_step, scores.shape[1])
    both = np.stack([1 - scores, scores], axis=-1).reshape(-1, 2)
    temperature = fit_temperature(both, targets.reshape(-1), floor)
    if false_accept_rate is None:
        return FittedConfidence(Confidence(temperature, DECISION_THRESHOLD))
    calibrated = scores if temperature == 1 else apply_temperature(scores, temperature, floor, independent=True)
    absent = calibrated[targets == 0]
    if not len(absent):
        note = f"{name}: no threshold: every validation sample has every label"
        return FittedConfidence(Confidence(temperature), (note,))
    threshold, note = rejecting_threshold(absent, false_accept_rate, "absent labels of the validation split")
    return FittedConfidence(Confidence(temperature, threshold), (f"{name}: {note}",) if note else ())


def choose_decision(
    fitted: FittedConfidence, predictions: Predictions, name: str, rule: ThresholdRule
) -> tuple[FittedConfidence, Predictions]:
    """Choose the decision threshold of one model file of the task binary or multilabel.

    Args:
        fitted: the temperature of the file.
        predictions: of the file, for the validation split.
        name: of the file, for notes.
        rule: how the threshold is chosen.

    Returns:
        What was fitted with the threshold, and the predictions of the file with both.
    """
    scores, temperature = predictions.uncalibrated, fitted.confidence.temperature
    if temperature != 1:
        scores = calibrated_scores(predictions, temperature)
    threshold, note = choose_threshold(
        scores if predictions.task == "multilabel" else scores[:, 1], predictions.targets, rule
    )
    confidence = decide_from(fitted.confidence, threshold, predictions.task)
    decided = replace(
        predictions, scores=scores, uncalibrated_scores=predictions.uncalibrated, decision=confidence.decision
    )
    return FittedConfidence(confidence, (*fitted.notes, f"{name}: a label is predicted from {note}")), decided


def calibrated_scores(predictions: Predictions, temperature: float) -> Scores:
    """The scores of one model file under a temperature, float32, as `Predictions.scores`."""
    floor = score_floor(predictions.output_step, predictions.uncalibrated.shape[1])
    return apply_temperature(predictions.uncalibrated, temperature, floor, independent=predictions.task == "multilabel")


def decide_from(confidence: Confidence, threshold: float, task: str) -> Confidence:
    """The confidence with a decision threshold; for the task multilabel each answered label must reach it too."""
    confidence = confidence._replace(decision=max(threshold, 10.0**-_THRESHOLD_DECIMALS))
    return confidence._replace(threshold=confidence.decision) if task == "multilabel" else confidence


def fit_temperature(scores: Scores, targets: Targets, floor: float) -> float:
    """The temperature under which the true labels are most likely.

    The log-likelihood counts the true class with (n + 1) / (n + 2), and the other classes evenly with the rest: n
    correct predictions out of n do not prove that the next one is correct.

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
    true_logs = logs[np.arange(count), targets]
    other_logs = (logs.sum(axis=1) - true_logs) / (classes - 1)
    mean_log = float(((1 - rest) * true_logs + rest * other_logs).mean())
    logs -= logs.max(axis=1, keepdims=True)
    offset = float(np.log(np.maximum(scores.max(axis=1), floor)).mean())

    def negative_log_likelihood(log_temperature: float) -> float:
        inverse = math.exp(-log_temperature)
        normalizer = float(np.log(np.exp(inverse * logs).sum(axis=1)).mean()) + inverse * offset
        return normalizer - inverse * mean_log

    best = minimize(negative_log_likelihood, math.log(_MIN_TEMPERATURE), math.log(_MAX_TEMPERATURE))
    return round(math.exp(best), _TEMPERATURE_DECIMALS)


def minimize(function: Callable[[float], float], low: float, high: float, steps: int = _STEPS) -> float:
    """The argument between `low` and `high` at which a function with one minimum is least, by golden sections.

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


def fit_threshold(scores: Scores, targets: Targets, rate: float) -> tuple[float, str]:
    """The least threshold that at most a share of the wrong predictions reaches.

    Of n wrong predictions k may be accepted if (k + 1) / (n + 1) is at most the rate: then the next wrong prediction
    too is accepted with at most that probability, whatever the distribution of the scores.

    Args:
        scores: shape (n, classes), as the runtime compares them.
        targets: shape (n,).
        rate: 0 to 1.

    Returns:
        The threshold, and a note for people; "" where nothing needs to be said.

    Source: V. Vovk, A. Gammerman, G. Shafer, Algorithmic learning in a random world, 2005 (split conformal).
    """
    wrong = scores.max(axis=1)[scores.argmax(axis=1) != targets]
    if not len(wrong):
        return 0.0, "no threshold: no answer on the validation split is wrong"
    return rejecting_threshold(wrong, rate, "wrong answers on the validation split")


def rejecting_threshold(scores: Scores, rate: float, plural: str) -> tuple[float, str]:
    """The least threshold that at most a share of the next scores of this kind reaches, as for `fit_threshold`.

    Args:
        scores: shape (n,), of what should be rejected; n at least 1.
        rate: 0 to 1.
        plural: the name of what is rejected, for notes.
    """
    descending = np.sort(scores)[::-1]
    allowed = math.floor(rate * (len(descending) + 1) + 1e-9) - 1
    note = ""
    if allowed < 0:
        needed = f"{math.ceil(1 / rate) - 1}" if rate else "more than any number of"
        note = (
            f"the threshold rejects all {len(descending)} {plural}; a false-accept rate of "
            f"{rate:g} is sure only with {needed} of them"
        )
    if allowed >= len(descending):
        return 0.0, note
    best_rejected = float(descending[max(0, allowed)])
    unit = 10.0**-_THRESHOLD_DECIMALS
    above = math.floor(best_rejected / unit + 1) * unit
    return min(1.0, round(above, _THRESHOLD_DECIMALS)), note
