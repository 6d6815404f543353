"""The model that a command measures: a run or a model file, the data set in its geometry, and its scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.cli.options import Option
from runtime.cli.output import print_line
from runtime.files import shown
from runtime.native_output import quiet_tensorflow
from runtime.recognition import recognize

from ..errors import RunError
from .settings import load_named

if TYPE_CHECKING:
    from runtime import Contract

    from ..data import Dataset
    from ..data.run_folder import RunFolder
    from ..evaluation.eval_set import EvaluationSet
    from ..evaluation.predictions import Scores

SPLIT_OPTION = Option(
    ("--split",),
    "Split to measure on; all measures the whole data set.",
    choices=("test", "validation", "train", "all"),
    default="test",
    show_default=True,
)


def open_model(model: Path) -> tuple[RunFolder | None, Contract]:
    """The run, or None for a model file; and the contract.

    Raises:
        RunError: there is no such run or file.
        ModelError: it is no model, or damaged.
    """
    if model.is_dir() and recognize(model).kind != "models":
        from ..data.run_folder import read_run

        run = read_run(model)
        return run, run.contract
    from runtime.model_file import read_model

    if recognize(model).kind == "missing":
        from ..data.run_folder import why_no_run

        raise RunError(why_no_run(model))
    return None, read_model(model).contract


def load_as_input(contract: Contract, dataset: str, options: dict[str, Any]) -> Dataset:
    """The data set that the options name, in the geometry that a model takes; files that are left out are printed."""
    spec = contract.input
    geometry: dict[str, Any] = {}
    if spec.kind == "image":
        colour = "grey" if spec.channels == 1 else "rgb"
        geometry = {name: getattr(spec, name) for name in ("resize", "filter", "orientation")}
        geometry |= {"image_size": (spec.height, spec.width), "colour": colour}
    data = load_named(dataset, **geometry, **options)
    for line in data.left_out:
        print_line(f"left out: {shown(line)}", error=True)
    return data


def score(run: RunFolder | None, model: Path, evaluation_set: EvaluationSet) -> tuple[Scores, str]:
    """Scores of the chosen samples, float32 (n, labels), and what ran the model.

    Args:
        run: the run of the model; None for a model file, which is scored without TensorFlow.
    """
    from ..evaluation.scoring import score_file, score_keras
    from ..fitting.memory import reuse_memory

    if run is None:
        return score_file(model, evaluation_set.source, evaluation_set.chosen)
    reuse_memory()
    quiet_tensorflow()
    return score_keras(run, evaluation_set.source, evaluation_set.chosen), "Keras"
