"""A file made, looked at on validation images, and given its confidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from trainer.data.run_folder import RunFolder
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.score_calibration import fit_confidence

from .accuracy import score_model
from .candidate import Candidate, Converter, make
from .recipe import Recipe


@dataclass(frozen=True)
class Attempt:
    """A file that is not measured yet.

    Attributes:
        made: the file, its confidence inside.
        seen: what it answered to validation images, before it had one; None where there are no such images.
    """

    made: Candidate
    seen: Predictions | None


@dataclass(frozen=True)
class CandidateBuilder:
    """What every attempt needs.

    Attributes:
        run: its contract and its validation images.
        staged: folder for files.
        library: of the interpreter that answers.
        target, edgetpu: as for `making.make`.
        false_accept_rate: as for `fit_confidence`.
        golden: images for the files' self-test, as for `making.make`; None for none.
    """

    run: RunFolder
    staged: Path
    library: str
    target: str
    edgetpu: bool
    false_accept_rate: float | None
    golden: npt.NDArray[Any] | None

    def attempt(self, converter: Converter, model: Any, recipe: Recipe) -> Attempt:
        """Make a file by a recipe, score the validation split, and fit temperature and threshold on that.

        Raises:
            ExportError: as `make` and `score_model` do.
        """
        made = make(converter, model, recipe, self.run.contract, self.target, self.edgetpu, self.golden)
        if not len(self.run.splits["validation"]):
            return Attempt(made, None)
        seen = score_model(self.write(made), self.run, "validation", self.library)
        fitted = fit_confidence(seen, recipe.name, self.false_accept_rate)
        return Attempt(made.with_confidence(*fitted), seen)

    def write(self, made: Candidate) -> Path:
        """The file, where it is published from."""
        path = self.staged / f"{made.recipe.name}.tflite"
        path.write_bytes(made.content)
        return path
