"""What `pocketlens evaluate --corruptions` measures, prints and writes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from runtime import Contract
from runtime.cli.output import print_line, print_wrapped
from runtime.cli.tables import columns
from runtime.files import write_whole

from ..data.run_folder import RunFolder
from ..evaluation.eval_set import EvaluationSet
from ..evaluation.robustness import Robustness, choose_images, measure_robustness
from ..evaluation.scoring import score_corrupted_file, score_corrupted_keras
from ..pages.robustness_section import describe_findings, describe_images, severity_table
from ..plots.image_grid import input_pixels
from ..plots.robustness import save_corruption_curves, save_corruption_examples

#: All files that a call may write.
CORRUPTION_FILES = ("corruptions.csv", "corruptions.png", "corruption-examples.png")


@dataclass(frozen=True)
class CorruptedImages:
    """The images of an evaluation set on which a model is measured under corruptions.

    Attributes:
        contract: of the model.
        chosen: the evaluation set with these images alone.
        total: images of the split.
        seed: of their choice, and of what is drawn at random.
    """

    contract: Contract
    chosen: EvaluationSet
    total: int
    seed: int

    @classmethod
    def choose(cls, contract: Contract, evaluation_set: EvaluationSet, count: int | None, seed: int) -> CorruptedImages:
        """Choose the images; arguments and errors are those of `choose_images`."""
        places = choose_images(contract, evaluation_set.chosen_targets, count, seed)
        chosen = replace(evaluation_set, chosen=evaluation_set.chosen[places])
        return cls(contract, chosen, len(evaluation_set.chosen), seed)

    def measure(self, run: RunFolder | None, model: Path) -> Robustness:
        """The figures of a run, or of a model file.

        Raises:
            RunError: the model cannot be scored.
        """
        places, source = self.chosen.chosen, self.chosen.source
        if run is None:
            scores = score_corrupted_file(model, source, places, self.seed)
        else:
            scores = score_corrupted_keras(run, source, places, self.seed)
        return measure_robustness(scores, self.chosen.chosen_targets, self.contract, total=self.total, seed=self.seed)

    def show(self, found: Robustness, model: str) -> None:
        """Print the table and the findings.

        Args:
            model: its name.
        """
        heads, rows = severity_table(found)
        print_line("")
        print_wrapped(describe_images(found))
        print_line("")
        for line in columns([[head.removeprefix("severity ") for head in heads], *rows]):
            print_line(line)
        print_line("")
        for finding in describe_findings({model: found}):
            print_wrapped(finding)

    def draw(self, out: Path, found: Robustness, model: str) -> list[Path]:
        """Write `CORRUPTION_FILES` into a folder: figures, their curves, and one image under each corruption.

        Args:
            model: its name, for titles.

        Raises:
            OSError: it cannot be written.
        """
        table, curves, examples = (out / name for name in CORRUPTION_FILES)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(_rows(found))
        write_whole(table, text.getvalue().encode())
        subject = f"{model} on {self.chosen.name}, {self.chosen.split}"
        save_corruption_curves(curves, {model: found}, f"{subject}: {found.title} {found.mean:.4f}")
        pixels = input_pixels(self.chosen.source.sample(int(self.chosen.chosen[0])), self.contract.image_input)
        save_corruption_examples(examples, pixels, f"{self.chosen.name}: one image", self.seed)
        return [table, curves, examples]


def _rows(found: Robustness) -> Iterator[tuple[object, ...]]:
    yield "corruption", "severity", found.metric
    yield "none", 0, f"{found.clean:.6f}"
    for name, values in found.by_corruption.items():
        for severity, value in enumerate(values, 1):
            yield name, severity, f"{value:.6f}"
