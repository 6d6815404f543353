"""A search whose steps run as tasks on a Ray cluster: Ray finds the nodes, and starts a task again that lost its node.

One process takes the steps, in as many threads as the cluster runs tasks at once. Each thread has its own view of the
study, as a process on another machine has, so that nothing is different from a search on many machines.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runtime import PocketlensError

from ..errors import ExportError
from .budget import Cost
from .halving import TrialStep
from .loop import LoopSeconds, SearchLoop, SearchState
from .ray_trial import RayJob, call_runner
from .study import SearchStudy
from .trial_runner import TrialOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

#: A task is started again so often when its node or its process dies.
_RETRIES = 3
#: Seconds between two looks at whether the search was interrupted.
_SECONDS_BETWEEN_LOOKS = 0.5


class RayRunner:
    """Runs the calls of a `TrialRunner` as Ray tasks, and waits for them; for one thread.

    Args:
        ray: the module, connected to a cluster.
        job: what the tasks have in common.
        stopped: set where the search is to end; the call at hand is then cancelled.
    """

    def __init__(self, ray: ModuleType, job: RayJob, stopped: threading.Event) -> None:
        self._ray, self._job, self._stopped = ray, job, stopped
        self._task = ray.remote(num_cpus=job.threads, max_retries=_RETRIES)(call_runner)

    def cost(self, value: Mapping[str, Any]) -> Cost:
        """What the network of a value costs.

        Raises:
            ExportError: as `TrialRunner.cost`, or Ray lost the task too often.
            KeyboardInterrupt: the search ends.
        """
        cost: Cost = self._call("cost", dict(value))
        return cost

    def train(self, step: TrialStep, value: Mapping[str, Any], seconds: float | None = None) -> TrialOutcome | None:
        """Train a trial to its rung; as `TrialRunner.train`.

        Raises:
            ExportError: as `TrialRunner.train`, or Ray lost the task too often.
            KeyboardInterrupt: the search ends.
        """
        outcome: TrialOutcome | None = self._call("train", step, dict(value), seconds)
        return outcome

    def _call(self, method: str, *arguments: Any) -> Any:
        result = self._task.remote(self._job, method, *arguments)
        while not self._ray.wait([result], timeout=_SECONDS_BETWEEN_LOOKS)[0]:
            if self._stopped.is_set():
                self._ray.cancel(result, force=True)
                raise KeyboardInterrupt
        try:
            return self._ray.get(result)
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            if isinstance(cause, PocketlensError):
                raise ExportError(str(cause)) from error
            lines = str(cause).strip().splitlines() or [""]
            raise ExportError(f"Ray could not run the trial: {type(cause).__name__}: {lines[-1]}") from error


def search_on_ray(
    job: RayJob,
    open_study: Callable[[int], SearchStudy],
    *,
    trials: int | None = None,
    minutes: float | None = None,
    report: Callable[[SearchState], object] = lambda state: None,
) -> LoopSeconds:
    """Run a search on the Ray cluster at `$RAY_ADDRESS`, or on the one that runs on this machine.

    Args:
        job: what the tasks have in common.
        open_study: opens the study for the thread with a number.
        trials, minutes: as for `SearchLoop`.
        report: called with the state after each step, by one thread at a time.

    Returns:
        Where the time went, that of all tasks together.

    Raises:
        ExportError: Ray is not installed, there is no cluster, or it has too few processors; as `SearchLoop.run`.
        StorageError: the database cannot be used.
        KeyboardInterrupt: the tasks that ran are cancelled, and their steps wait again.
    """
    stopped, lock = threading.Event(), threading.Lock()

    def tell(state: SearchState) -> None:
        with lock:
            report(state)

    with _connected() as ray:
        tasks = int(ray.cluster_resources().get("CPU", 0)) // job.threads
        if tasks < 1:
            raise ExportError(f"the Ray cluster has fewer than {job.threads} processors; give fewer `threads`")

        def pause(seconds: float) -> None:
            if stopped.wait(seconds):
                raise KeyboardInterrupt

        def work(place: int) -> LoopSeconds:
            with open_study(place) as study:
                study.reclaim()
                runner = RayRunner(ray, job, stopped)
                loop = SearchLoop(
                    study, runner, job.plan.budget, trials=trials, minutes=minutes, report=tell, wait=pause
                )
                return loop.run()

        with ThreadPoolExecutor(tasks) as pool:
            futures = [pool.submit(work, place) for place in range(tasks)]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                stopped.set()
        errors = [error for future in futures if (error := future.exception()) is not None]
        if errors:  # the others were interrupted by the first
            raise next((error for error in errors if not isinstance(error, KeyboardInterrupt)), errors[0])
        return LoopSeconds(*map(sum, zip(*(future.result() for future in futures), strict=True)))


@contextmanager
def _connected() -> Iterator[ModuleType]:
    try:
        import ray
    except ImportError as error:
        raise ExportError("trials on Ray need the package ray: install pocketlens[ray]") from error
    try:
        ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        line = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise ExportError(
            f"no Ray cluster can be reached: {line}; start one, or set RAY_ADDRESS to its address"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
