"""One call of a search: opens the data set, the study and the child processes, runs the loop, and writes the pages."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from runtime.device_profile.format import DeviceProfile
from runtime.file_lock import try_lock
from runtime.files import read_regular_file, shown
from trainer.evaluation.metrics import HEADLINES

from ..errors import ExportError, StorageError
from .budget import BytesAlone
from .data import SearchData
from .loop import LoopSeconds, SearchLoop, SearchState
from .on_ray import search_on_ray
from .page import write_pages
from .plan import SearchPlan, rungs_of
from .profile_cost import ProfileCost
from .ray_trial import RayJob
from .study import SearchStudy
from .summary import SearchSummary, read_summary
from .trial_runner import make_runner

_log = logging.getLogger(__name__)

#: The folder of the trials, the database of a search on one machine, the profile of the device, and the file whose
#: bytes the processes of a search lock.
TRIALS_FOLDER, DATABASE, PROFILE, _LOCK = "trials", "study.db", "profile.json", ".lock"
_MOST_PROCESSES = 1024
#: The pages are written again after so many seconds, so that a killed search has them too.
_SECONDS_BETWEEN_PAGES = 30.0
_MAX_TEACHER_BYTES = 2**31


@dataclass(frozen=True)
class SearchHost:
    """Where and for how long one process searches; none of it changes what a trial reaches.

    Attributes:
        folder: of the plan, the trials and the pages.
        storage: address of a PostgreSQL, or the path of a SQLite file; None for one in the folder.
        trials: networks to train, of all processes together; None for no end.
        minutes: the time of this call; None for any.
        threads: of a training; None for one a processor core, and for 1 on Ray.
        name: of the search in the database; several in one need several names.
        on: `"local"`, or `"ray"` for tasks on a Ray cluster.
    """

    folder: Path
    storage: str | None = None
    trials: int | None = None
    minutes: float | None = None
    threads: int | None = None
    on: str = "local"
    name: str = "search"


class SearchEnd(NamedTuple):
    """How a call of a search ended.

    Attributes:
        summary: what all its processes have found together.
        seconds: where the time of this call went.
    """

    summary: SearchSummary
    seconds: LoopSeconds


def search_networks(
    plan: SearchPlan,
    host: SearchHost,
    profile: DeviceProfile | None = None,
    *,
    report: Callable[[SearchState], object] = lambda state: None,
) -> SearchEnd:
    """Search, or go on with a search that was stopped or killed.

    Args:
        plan: what to look for.
        host: where, and for how long.
        profile: of the device, by which time and memory are predicted; None for the bytes alone.
        report: called with the state after each step.

    Raises:
        DatasetError, ExportError, StorageError: the data set, the choices, the budget or the database cannot be used;
            the study has other data or settings; or one trial after the other fails.
        OSError: the folder cannot be written.
        KeyboardInterrupt: the same call goes on, and no more than the epoch at hand is lost.
    """
    with ExitStack() as stack:
        data = SearchData.load(plan.data, plan.seed)
        for remark in data.remarks:
            _log.info("note: %s", shown(remark))
        model = BytesAlone() if profile is None else ProfileCost(profile)
        # First what may be refused: it leaves no folder, and no study that keeps a wrong teacher's hash.
        runner = stack.enter_context(make_runner(plan, data, host.folder / TRIALS_FOLDER, model, host.threads))
        if plan.teacher is not None:
            runner.check()
        worker = stack.enter_context(hold_worker_name(host.folder))
        study = stack.enter_context(open_search(plan, data, host, profile, worker))
        plan.write(host.folder, study.identity)
        if profile is not None:
            profile.write(host.folder / PROFILE)
        lost = study.reclaim()
        if lost:
            _log.info("a killed search goes on: %d of its steps wait again", lost)
        pages = _Pages(study, data, host.folder)

        def tell(state: SearchState) -> None:
            report(state)
            pages.write_now_and_then()

        try:
            if host.on == "ray":
                job = RayJob(plan, data.digest, str((host.folder / TRIALS_FOLDER).absolute()), model, host.threads or 1)
                seconds = search_on_ray(
                    job,
                    lambda place: open_search(plan, data, host, profile, f"{worker}/{place}"),
                    trials=host.trials,
                    minutes=host.minutes,
                    report=tell,
                )
            else:
                if plan.teacher is None:
                    runner.check()
                loop = SearchLoop(study, runner, plan.budget, trials=host.trials, minutes=host.minutes, report=tell)
                seconds = loop.run()
        except BaseException:
            with suppress(OSError, StorageError):  # they may be what ended the search
                pages.write()
            raise
        return SearchEnd(pages.write(), seconds)


def open_search(
    plan: SearchPlan,
    data: SearchData,
    host: SearchHost,
    profile: DeviceProfile | None = None,
    worker: str = "",
) -> SearchStudy:
    """The study of a plan.

    Args:
        plan, host, profile: as for `search_networks`.
        data: of the plan.
        worker: from `hold_worker_name`; "" to look at the study only.

    Raises:
        ExportError: a choice that does not go with the data set.
        StorageError: the database cannot be used, or the study has other data or settings.
    """
    space, most = plan.make_space(data), plan.budget.max_bytes
    settings = {
        "budget": asdict(plan.budget),
        "target": plan.target,
        "teacher": _digest(plan.teacher),
        "profile": None if profile is None else hashlib.sha256(profile.to_json().encode()).hexdigest()[:12],
    }
    return SearchStudy(
        host.storage or host.folder / DATABASE,
        data.digest,
        space,
        rungs_of(space),
        costs=1 if profile is None else 2,
        settings=settings,
        name=host.name,
        worker=worker,
        seed=plan.seed,
        may_fit=lambda value: most is None or space.least_weights(value) <= most,
    )


@contextmanager
def hold_worker_name(folder: Path) -> Iterator[str]:
    """A name that this process alone has while the block runs, and that a later process gets after its death.

    Args:
        folder: of the search; it is made. Several processes may share it.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        place = next(place for place in range(_MOST_PROCESSES) if try_lock(handle, place))
        name = os.pread(handle, 32, 0)
        if not name:  # the folder's own, since machines may have the same name
            name = uuid.uuid4().hex.encode()
            os.pwrite(handle, name, 0)
        yield f"{socket.gethostname()}:{name.decode(errors='replace')[:8]}:{place}"
    finally:
        os.close(handle)


class _Pages:
    """The pages of a search, and the run folders of its best trials."""

    def __init__(self, study: SearchStudy, data: SearchData, folder: Path) -> None:
        self._study, self._data, self._folder = study, data, folder
        self._written = time.monotonic()

    def write_now_and_then(self) -> None:
        if time.monotonic() - self._written > _SECONDS_BETWEEN_PAGES:
            self.write()

    def write(self) -> SearchSummary:
        summary = read_summary(self._study, HEADLINES[self._data.task][0])
        for trial in summary.front:
            self._data.complete_run(self._folder / TRIALS_FOLDER / str(trial))
        write_pages(summary, self._folder)
        self._written = time.monotonic()
        return summary


def _digest(teacher: str | None) -> str | None:
    """SHA-256 of a teacher's model, which may have another path on each machine."""
    if teacher is None:
        return None
    path = Path(teacher) / "model.keras" if Path(teacher).is_dir() else Path(teacher)
    try:
        content, _ = read_regular_file(path, _MAX_TEACHER_BYTES, ExportError)
    except (ExportError, OSError) as error:
        raise ExportError(f"teacher {error}; give the folder of a run, or a .keras file") from error
    return hashlib.sha256(content).hexdigest()
