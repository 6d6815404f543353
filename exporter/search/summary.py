"""What a search has found, as plain values: the document `search.json`, and what the page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from trainer.evaluation.metrics import readable

from .budget import Cost
from .halving import best_trial, pareto_front
from .records import StepRecord, last_results
from .study import SearchStudy

_VERSION = 1

#: `stopped`: it rests at a rung before the last one, since others are better; it may still go on.
TrialState = Literal["waiting", "running", "done", "stopped", "rejected", "failed"]


class StepSummary(NamedTuple):
    """A step of a trial that is done.

    Attributes:
        epochs: of the rung.
        accuracy: of the int8 file on validation, 0 to 1.
        loss: of the int8 file on validation; None in the study of a version that did not note it.
        seconds: of training, conversion and scoring.
        worker: the process that did it.
    """

    epochs: int
    accuracy: float
    loss: float | None
    seconds: float | None
    worker: str | None


class TrialSummary(NamedTuple):
    """A trial of a search.

    Attributes:
        number: of the trial, and of its folder.
        state: see `TrialState`.
        is_preset: whether it is one of the presets that a search begins with.
        choices: its value of the space; {} before it was drawn.
        cost: of its int8 file; of the untrained one before training; None before that.
        excess: how many times the budget the untrained file costs.
        steps: that are done, by their epochs.
        lost: how many processes died with it.
        problem: why it failed.
    """

    number: int
    state: TrialState
    is_preset: bool
    choices: dict[str, Any]
    cost: Cost | None
    excess: float | None
    steps: tuple[StepSummary, ...]
    lost: int
    problem: str | None

    @property
    def accuracy(self) -> float | None:
        """After the last step that is done."""
        return self.steps[-1].accuracy if self.steps else None

    @property
    def loss(self) -> float | None:
        """After the last step that is done."""
        return self.steps[-1].loss if self.steps else None

    @property
    def seconds(self) -> float:
        """Of all steps that are done."""
        return sum(step.seconds or 0.0 for step in self.steps)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        cost = None if self.cost is None else self.cost._asdict()
        steps = [step._asdict() for step in self.steps]
        last = {"accuracy": self.accuracy, "loss": self.loss}
        return self._asdict() | {"cost": cost, **last, "seconds": self.seconds, "steps": steps}


class SearchSummary(NamedTuple):
    """What a search has found.

    Attributes:
        metric: what `accuracy` is, from `trainer.evaluation.metrics.HEADLINES`: for the task multilabel the mean
            average precision.
        settings: of the study, such as the budget.
        rungs: epochs after which trials are compared.
        trials: in the order of their numbers.
        front: numbers of the trials that no other one surpasses in accuracy and cost, the smallest file first. Of equal
            accuracies the one with the lower loss counts as higher.
        recommended: from `best_trial`; None before a step is done.
        importance: share of each choice in what decides accuracy, the largest first.
    """

    metric: str
    settings: dict[str, Any]
    rungs: tuple[int, ...]
    trials: tuple[TrialSummary, ...]
    front: tuple[int, ...]
    recommended: int | None
    importance: dict[str, float]

    def trial(self, number: int) -> TrialSummary:
        """The trial with a number.

        Raises:
            KeyError: there is none.
        """
        found = next((trial for trial in self.trials if trial.number == number), None)
        if found is None:
            raise KeyError(number)
        return found

    def counts(self) -> dict[str, int]:
        """How many trials are in each state."""
        states = [trial.state for trial in self.trials]
        return {state: states.count(state) for state in dict.fromkeys(states)}

    def describe(self) -> str:
        """What to take and what it costs, in one line."""
        if self.recommended is None:
            return "no trial is done yet"
        trial = self.trial(self.recommended)
        assert trial.cost is not None
        assert trial.accuracy is not None
        epochs = "" if trial.state == "done" else f", after {trial.steps[-1].epochs} of {self.rungs[-1]} epochs"
        figure = f"{readable(self.metric)} {trial.accuracy:.4f}"
        return f"trial {trial.number}: {figure} on validation{epochs}, {trial.cost.describe()}"

    def as_dict(self) -> dict[str, Any]:
        """The document `search.json`."""
        return {
            "version": _VERSION,
            **self._asdict(),
            "counts": self.counts(),
            "seconds": sum(trial.seconds for trial in self.trials),
            "trials": [trial.as_dict() for trial in self.trials],
        }


def read_summary(study: SearchStudy, metric: str = "accuracy") -> SearchSummary:
    """What a search has found so far.

    Args:
        study: of the search.
        metric: as in `SearchSummary`.

    Raises:
        StorageError: the database cannot be used.
    """
    steps: dict[int, list[StepRecord]] = {}
    for record in study.records():
        if record.state != "surplus":
            steps.setdefault(record.step.trial, []).append(record)
    last = study.rungs[-1]
    trials = tuple(_summarize(number, records, last, study) for number, records in sorted(steps.items()))
    results = last_results(record for records in steps.values() for record in records)
    front = sorted(pareto_front(results), key=lambda number: results[number].costs)
    return SearchSummary(
        metric, study.settings, study.rungs, trials, tuple(front), best_trial(results), study.importance()
    )


def _summarize(number: int, records: Sequence[StepRecord], last: int, study: SearchStudy) -> TrialSummary:
    done = sorted((record for record in records if record.result), key=lambda record: record.step.epochs)
    known = done[-1] if done else records[-1]
    return TrialSummary(
        number=number,
        state=_state(records, last),
        is_preset=any(record.is_preset for record in records),
        choices=study.whole_value(known),
        cost=_cost(records, done),
        excess=next((record.excess for record in records if record.excess is not None), None),
        steps=tuple(_step(record) for record in done),
        lost=sum(record.state == "lost" and not record.was_given_back for record in records),
        problem=next((record.problem for record in records if record.problem), None),
    )


def _state(records: Sequence[StepRecord], last: int) -> TrialState:
    states = {record.state for record in records}
    if "failed" in states:
        return "failed"
    if "rejected" in states:
        return "rejected"
    if "running" in states:
        return "running"
    if "waiting" in states or "done" not in states:  # one that is lost is about to wait
        return "waiting"
    return "done" if any(record.result and record.step.epochs == last for record in records) else "stopped"


def _step(record: StepRecord) -> StepSummary:
    assert record.result is not None
    return StepSummary(record.step.epochs, record.result.accuracy, record.result.loss, record.seconds, record.worker)


def _cost(records: Sequence[StepRecord], done: Sequence[StepRecord]) -> Cost | None:
    cost = next((record.cost for record in records if record.cost is not None), None)
    if not done or done[-1].result is None:
        return cost
    file_bytes, *latency = done[-1].result.costs
    cost = (cost or Cost(0))._replace(file_bytes=int(file_bytes))
    return cost._replace(latency_ms=latency[0]) if latency else cost


def describe_network(choices: Mapping[str, Any]) -> str:
    """The network of a value of the space, in words."""
    if not choices:
        return ""
    if choices["architecture"] == "dense":
        widths = [choices[f"units_{place}"] for place in range(1, choices["layers"] + 1)]
        parts = ["dense " + ("-".join(map(str, widths)) or "without hidden layers")]
    else:
        parts = ["cnn " + "-".join(str(choices[f"width_{place}"]) for place in (1, 2, 3))]
        parts.append(f"{choices['blocks']} block{'s' * (choices['blocks'] != 1)}")
    if "side" in choices:
        parts.append(f"{choices['side']} px {choices['colour']}")
    return ", ".join(parts)


def describe_training(choices: Mapping[str, Any]) -> str:
    """How a value of the space is trained, in words."""
    if not choices:
        return ""
    kinds = [name.removeprefix("augment_") for name, used in choices.items() if name.startswith("augment_") and used]
    parts = [f"rate {choices['learning_rate']:.2g}", f"batch {choices['batch_size']}", " + ".join(kinds)]
    parts += ["a teacher" if choices["teacher"] else ""]
    parts += [f"smoothing {choices['label_smoothing']:g}" if choices.get("label_smoothing") else ""]
    parts += ["quantization-aware" if choices["quantization_aware"] else ""]
    return ", ".join(filter(None, parts))
