"""The end of a search: the chosen trial is trained as a whole run, exported, and gated. Only here test is measured."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from runtime.child_process import ChildError
from runtime.child_worker import ChildWorker
from runtime.files import shown
from trainer.data.run_folder import read_run

from ..errors import ExportError
from ..export import DEFAULT_RECIPES, ExportResult, export
from ..recipe import ExportConfig
from .plan import SearchPlan
from .records import StepRecord
from .session import TRIALS_FOLDER
from .study import SearchStudy
from .summary import read_summary
from .trial_runner import thread_variables

_log = logging.getLogger(__name__)

#: The folder, within that of a search, with the runs of finished trials.
RUNS_FOLDER = "runs"
#: The checkpoint in a trial's folder.
_CHECKPOINT = "checkpoint.npz"


@dataclass(frozen=True)
class FinishSettings:
    """How a trial is finished.

    Attributes:
        config: of the export; the budget's limits become limits of it.
        epochs: of the training; None for those of the search.
        force: replace an earlier run of this trial.
        threads: of the training; None for one a processor core.
    """

    config: ExportConfig
    epochs: int | None = None
    force: bool = False
    threads: int | None = None


class Finished(NamedTuple):
    """What a finished trial gives.

    Attributes:
        trial: its number.
        run: the run folder.
        figures: of the training, as `trainer.trials.whole.train_whole` returns them.
        exported: the files, the report, and the gates.
    """

    trial: int
    run: Path
    figures: dict[str, Any]
    exported: ExportResult


def choose_trial(study: SearchStudy, wanted: int | None = None) -> StepRecord:
    """The last step that is done of a trial, by default of the one that the summary recommends.

    Raises:
        ExportError: no trial is done, or not the wanted one.
    """
    chosen = read_summary(study).recommended if wanted is None else wanted
    done = [record for record in study.records() if record.result is not None]
    steps = [record for record in done if record.step.trial == chosen]
    if not done:
        raise ExportError("no trial of this search is trained yet; go on with the search")
    if not steps:
        trials = sorted({record.step.trial for record in done})
        known = f"{', '.join(map(str, trials[:20]))}{', ...' * (len(trials) > 20)}"
        raise ExportError(f"`trial` {wanted} is not trained; trained are {known}")
    return max(steps, key=lambda record: record.step.epochs)


def finish_trial(
    plan: SearchPlan, study: SearchStudy, record: StepRecord, folder: Path, out: Path, settings: FinishSettings
) -> Finished:
    """Train a trial to its end, from its checkpoint where that is at hand, export it, and check the gates.

    Args:
        plan, study, folder: of the search.
        record: a step of the trial, from `choose_trial`.
        out: folder for the files.
        settings: how.

    Raises:
        ExportError: the trial is finished already; or the training failed, or the run cannot be exported.
    """
    value, trial = study.whole_value(record), record.step.trial
    run = folder / RUNS_FOLDER / str(trial)
    if run.exists() and not settings.force:
        raise ExportError(
            f"{shown(run)}: trial {trial} is finished already; export this run, or train anew with `force`"
        )
    wanted = study.space.settings(value)
    checkpoint: str | None = str(folder / TRIALS_FOLDER / str(trial) / _CHECKPOINT)
    if settings.epochs not in (None, wanted["epochs"]):
        wanted["epochs"], checkpoint = settings.epochs, None  # another schedule
    elif not Path(str(checkpoint)).is_file() and not any(run.parent.glob(f".{trial}.*")):  # a stopped run goes on
        _log.info(
            "note: %s has no checkpoint of trial %d; it is trained anew, to the same weights", shown(folder), trial
        )
    _log.info("trial %d: training to epoch %d", trial, wanted["epochs"])
    data = {**plan.data, **study.space.geometry(value)}
    with ChildWorker(thread_variables(settings.threads)) as child:
        arguments = (data, wanted, str(run.absolute()), checkpoint, settings.force)
        try:
            figures = child.submit("trainer.trials.whole:train_whole", *arguments).result()
        except ChildError as error:
            raise ExportError(str(error)) from error
    budget = plan.budget
    limits = replace(
        settings.config.limits,
        max_bytes=budget.max_bytes,
        max_latency_ms=budget.max_latency_ms,
        max_memory=budget.max_memory_bytes,
    )
    exported = export(read_run(run), out, DEFAULT_RECIPES, replace(settings.config, limits=limits))
    return Finished(trial, run, figures, exported)
