"""How much each choice of a search decides about accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial

#: Below so many trials shares of importance are noise.
_LEAST_TRIALS = 10


def importance_of_choices(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """Shares of 1, the most important choice first, by PED-ANOVA (S. Watanabe et al., arXiv:2304.10255).

    Trials of one architecture have the same choices; where there are several, those of the one with the most trials are
    compared.

    Args:
        trials: that are done after the same number of epochs; their first value is the accuracy.

    Returns:
        A share for each choice that these trials have in common; {} where they are too few, or equally accurate.
    """
    if not trials:
        return {}
    of = [trial.params.get("architecture") for trial in trials]
    most = Counter(of).most_common(1)[0][0]
    same = [trial for trial, architecture in zip(trials, of, strict=True) if architecture == most]
    if len(same) < _LEAST_TRIALS or len({trial.values[0] for trial in same}) == 1:
        return {}
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        optuna.trial.create_trial(params=trial.params, distributions=trial.distributions, value=trial.values[0])
        for trial in same
    )
    found = optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    total = sum(found.values())
    return {name: share / total for name, share in found.items()} if total else {}
