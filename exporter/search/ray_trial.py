"""What a Ray task does on its node: one call of a `TrialRunner`, which stays in the process for the next task.

Nothing here imports Ray, and a task names only this module: a node needs Pocketlens installed, and the data set.
"""

from __future__ import annotations

import platform
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ExportError
from .budget import CostModel
from .data import SearchData
from .plan import SearchPlan
from .trial_runner import TrialRunner, make_runner


@dataclass(frozen=True)
class RayJob:
    """What the tasks of a search have in common.

    Attributes:
        plan: of the search.
        digest: of its data set, which each node must have.
        folder: of the trials, as an absolute path; a folder that all nodes share keeps their checkpoints.
        cost_model: gives the cost of a file.
        threads: of a training.
    """

    plan: SearchPlan
    digest: str
    folder: str
    cost_model: CostModel
    threads: int


class _Current:
    """The runner of this process, and its job."""

    job: RayJob | None = None
    runner: TrialRunner
    stack = ExitStack()


def call_runner(job: RayJob, method: str, *arguments: Any) -> Any:
    """Call a method of the `TrialRunner` of a job.

    Raises:
        ExportError: as the method; or the node has another data set.
        DatasetError: the node has no such data set.
    """
    if _Current.job != job:
        _Current.job = None
        _Current.stack.close()
        _Current.runner = _open_runner(job)
        _Current.job = job
    return getattr(_Current.runner, method)(*arguments)


def _open_runner(job: RayJob) -> TrialRunner:
    data = SearchData.load(job.plan.data, job.plan.seed)
    if data.digest != job.digest:
        raise ExportError(
            f"node {platform.node()}: the data set {job.plan.data['name']} has the hash {data.digest[:12]} there, not "
            f"{job.digest[:12]}; put the same files there"
        )
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    runner = make_runner(job.plan, data, folder, job.cost_model, job.threads)
    _Current.stack.enter_context(runner)
    runner.check()
    return runner
