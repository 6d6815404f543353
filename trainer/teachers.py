"""The teacher of a distillation: which files it is, and whether it suits a data set. Without TensorFlow."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from runtime import Contract
from runtime.errors import PocketlensError
from runtime.files import shown

from .config import SIZES, TrainingConfig
from .data import Dataset
from .data.run_folder import RUN_MARKER, RunFolder, read_run
from .errors import TrainingError

_MODEL = "model.keras"
#: Fields of an input that may differ: a teacher's own scaling is put behind the student's.
_SCALING = ("mean", "std")
#: The size of a teacher for each size of `cnn`: what the next size learns in the same epochs is worth teaching.
_TEACHER_SIZES = dict(zip(SIZES, (*SIZES[1:], SIZES[-1]), strict=True))


class TeacherFile(NamedTuple):
    """A teacher's files.

    Attributes:
        model: the Keras model.
        run: the run folder that it lies in; None for a `.keras` file alone, which does not say how to scale its input.
    """

    model: Path
    run: RunFolder | None

    @property
    def name(self) -> str:
        """The path in printable form."""
        return self.run.name if self.run else shown(self.model)


def find_teacher(teacher: str) -> TeacherFile:
    """The teacher that `TrainingConfig.teacher` names.

    Raises:
        TrainingError: there is no such run or file.
    """
    path = Path(teacher)
    folder = path.parent if path.name == _MODEL and (path.parent / RUN_MARKER).is_file() else path
    if folder.is_dir():
        try:
            run = read_run(folder)
        except PocketlensError as error:
            raise TrainingError(f"teacher {error}") from error
        return TeacherFile(run.model_path, run)
    if not path.is_file():
        raise TrainingError(f"{shown(path)}: no such teacher; name a run folder or a .keras file with `teacher`")
    if path.suffix != ".keras":
        raise TrainingError(f"{shown(path)}: a teacher is a run folder or a .keras file; see `teacher`")
    return TeacherFile(path, None)


def teacher_paths(teacher: str | None) -> list[Path]:
    """The files that decide a teacher's scores."""
    if teacher is None:
        return []
    found = find_teacher(teacher)
    return [found.model, *([found.run.folder / RUN_MARKER] if found.run else [])]


def check_teacher(teacher: str, dataset: Dataset) -> TeacherFile:
    """The files of a teacher whose labels, task and input are those of a data set, as far as its files say.

    Raises:
        TrainingError: it is missing, or another model is needed.
    """
    found = find_teacher(teacher)
    if found.run:
        _check_contract(found.run.contract, dataset, found.name)
    return found


def teacher_config(config: TrainingConfig) -> TrainingConfig:
    """The settings to train a teacher for a student with: the next size of `cnn`, and labels as they are.

    Scores of a network that learned smoothed labels teach less (R. Müller et al., When Does Label Smoothing Help?,
    arXiv:1906.02629).

    Raises:
        TrainingError: the student is no `cnn`.
    """
    if config.architecture != "cnn":
        raise TrainingError(
            f"`teacher=auto` trains a larger cnn, and {config.architecture} has no larger one; name a run as `teacher`"
        )
    return replace(
        config,
        size=_TEACHER_SIZES[config.size],
        widths=(),
        blocks=None,
        teacher=None,
        label_smoothing=0.0,
        quantization_aware=False,
        quantization_aware_epochs=0,
    )


def describe_teacher(config: TrainingConfig) -> str:
    """The teacher of a training and how it was listened to, for files."""
    assert config.teacher is not None
    return (
        f"{Path(config.teacher).name}, temperature {config.distillation_temperature:g}, "
        f"weight {config.distillation_weight:g}"
    )


def _check_contract(contract: Contract, dataset: Dataset, teacher: str) -> None:
    if contract.task != dataset.task:
        raise TrainingError(f"teacher {teacher}: its task is {contract.task}, and this training's is {dataset.task}")
    if contract.labels != dataset.labels:
        ours, theirs = (", ".join(map(shown, labels[:5])) for labels in (dataset.labels, contract.labels))
        raise TrainingError(
            f"teacher {teacher}: {len(contract.labels)} labels ({theirs}, ...), expected the {len(dataset.labels)} of "
            f"{dataset.name} in their order ({ours}, ...); name a teacher for this data set"
        )
    its_input, wanted = asdict(contract.input), asdict(dataset.input)
    differing = [name for name in wanted if name not in _SCALING and its_input.get(name) != wanted[name]]
    if differing:
        listed = ", ".join(f"{name} {shown(its_input.get(name))} (here {shown(wanted[name])})" for name in differing)
        raise TrainingError(f"teacher {teacher}: takes another input: {listed[:200]}; give both the same")
