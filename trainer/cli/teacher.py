"""The teacher that `pocketlens train --teacher auto` trains before the student."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import PocketlensError, UsageError

from ..errors import TrainingError

if TYPE_CHECKING:
    from ..config import TrainingConfig
    from ..data import Dataset

_log = logging.getLogger(__name__)


_AUTO = "auto"


def check_auto_teacher(teacher: str | None, minutes: float | None, distribute: str | None) -> None:
    """Refuse options that a teacher which is trained first does not go with.

    Raises:
        UsageError: it names them.
    """
    other = "--minutes" if minutes is not None else "--distribute" if distribute is not None else ""
    if teacher == _AUTO and other:
        raise UsageError(f"--teacher auto goes without {other}; train the teacher first, and name its run")


class TeacherOption:
    """The value of `--teacher`: a trained model, or `auto` for one that is trained first.

    Args:
        value: None for no teacher.
        out: the run folder of the student; a teacher is trained into a folder beside it.
        resume: whether a stopped training goes on.

    Attributes:
        name: `TrainingConfig.teacher`.
        student_resumes: whether the student goes on: not if the training was stopped before the student began.
    """

    def __init__(self, value: str | None, out: Path, resume: bool) -> None:
        self._is_auto, self._resume = value == _AUTO, resume
        self.name, self.student_resumes = value, resume
        if self._is_auto:
            from ..data.run_folder import RUN_MARKER
            from ..fitting.checkpoint import checkpoint_path

            self._folder = out.with_name(f"{out.name}-teacher")
            self.name = str(self._folder)
            begun = (self._folder / RUN_MARKER).is_file() or checkpoint_path(self._folder).is_file()
            self.student_resumes = resume and (checkpoint_path(out).is_file() or not begun)

    def prepare(self, data: Dataset, student: TrainingConfig, force: bool) -> None:
        """Check the teacher, or train it; one that is trained already, with the same settings, is kept.

        Raises:
            RunError: another run is in the teacher's place, or it cannot be written.
            TrainingError: the teacher does not suit the data set, or its training ended before its last epoch.
        """
        from ..teachers import check_teacher, teacher_config

        if self._is_auto:
            self._train(data, teacher_config(student), force)
        elif self.name is not None:
            check_teacher(self.name, data)

    def _train(self, data: Dataset, config: TrainingConfig, force: bool) -> None:
        import keras

        from ..fitting.checkpoint import checkpoint_path
        from ..run_writer import reserve_target, write_run
        from ..training import train

        folder, checkpoint = self._folder, checkpoint_path(self._folder)
        if _is_trained(folder, config):
            _log.info(f"teacher: {folder} is trained already")
            return
        resume = self._resume and checkpoint.is_file()
        _log.info(f"teacher: training cnn {config.size} into {folder}")
        with reserve_target(folder, force, resume):
            run = train(data, config, checkpoint_file=checkpoint, resume=resume)
            write_run(run, folder)
            if run.stopped not in ("", "early"):
                raise TrainingError(
                    f"{folder}: the training of the teacher ended after epoch {len(run.history)} ({run.stopped}); "
                    "`resume` goes on"
                )
            checkpoint.unlink(missing_ok=True)
        _log.info(f"teacher: test {run.metrics.headline_text()}")
        keras.utils.clear_session(free_memory=False)  # or the student's layers would be numbered on from the teacher's


def _is_trained(folder: Path, config: TrainingConfig) -> bool:
    from ..data.run_folder import read_run

    try:
        metrics = read_run(folder).metrics
    except PocketlensError:
        return False
    return metrics["settings"] == json.loads(json.dumps(config.as_dict())) and metrics.get("stopped") in ("", "early")
