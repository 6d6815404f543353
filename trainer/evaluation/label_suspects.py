"""The samples of a run whose label is most likely wrong, as a list for people."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.files import shown, write_whole

from ..data.run_folder import RunFolder
from ..data.sources import FileSource, Indices
from .confident_learning import LabelErrors, find_label_errors
from .predictions import Scores

#: How much less often than the run's own model those of the folds may answer as labelled.
_MOST_LOST = 0.15
#: The columns of the CSV file; the last one is for a person's decision.
COLUMNS = ("rank", "index", "file", "split", "label", "suggested", "label_score", "suggested_score", "decision")


@dataclass(frozen=True)
class OutOfFold:
    """Scores of the training and the validation samples of a run, by models that have not learned from them.

    Attributes:
        members: indices of the samples that have scores, ascending.
        scores: float32, shape (members, labels).
        skipped: how many samples have none, as their class has too few.
        folds, epochs: how many folds there were, and epochs in each.
    """

    members: Indices
    scores: Scores
    skipped: int
    folds: int
    epochs: int


@dataclass(frozen=True)
class Suspect:
    """A sample whose label is most likely wrong.

    Attributes:
        rank: from 1, the likeliest first.
        index: of the sample in the run.
        file: its path relative to the data set's folder; "" where it came in an array.
        split: "train" or "validation".
        label, suggested: the given label, and the one that the models suggest.
        label_score, suggested_score: their scores, 0 to 1, by a model that has not learned from the sample.
    """

    rank: int
    index: int
    file: str
    split: str
    label: str
    suggested: str
    label_score: float
    suggested_score: float

    @property
    def name(self) -> str:
        """The file of the sample, or its number."""
        return shown(self.file) or f"#{self.index}"


@dataclass(frozen=True)
class SuspectList:
    """The samples of a run whose label is most likely wrong.

    Attributes:
        suspects: the likeliest first.
        errors: the figures behind them; its places count among `scored.members`.
    """

    run: RunFolder
    scored: OutOfFold
    errors: LabelErrors
    suspects: tuple[Suspect, ...]

    @property
    def agreement(self) -> float:
        """The share of samples whose label has the highest score, 0 to 1."""
        given = self.run.targets[self.scored.members]
        return float((self.scored.scores.argmax(axis=1) == given).mean())

    def doubt(self) -> str:
        """Why the list is of little use, or "": the models of the folds are much worse than the run's own."""
        known = {row["epoch"]: row.get("val_accuracy", 0.0) for row in self.run.history}
        own = known.get(float(self.run.metrics.get("best_epoch", 0)), 0.0)
        if self.agreement >= own - _MOST_LOST:
            return ""
        return (
            f"the models of the folds answer as labelled on {self.agreement:.2f} of the samples, and the run's own on "
            f"{own:.2f} of its validation split: they have learned too little to judge, or many labels are wrong; give "
            "more `epochs`"
        )

    def pairs(self) -> list[tuple[str, str, int]]:
        """How often each pair of label and suggestion occurs, the most frequent first."""
        counts = Counter((each.label, each.suggested) for each in self.suspects)
        return [(label, suggested, count) for (label, suggested), count in counts.most_common()]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "run": str(self.run.folder),
            "folds": self.scored.folds,
            "epochs": self.scored.epochs,
            "examined": len(self.scored.members),
            "skipped": self.scored.skipped,
            "estimated": self.errors.estimated,
            "agreement": self.agreement,
            "warning": self.doubt() or None,
            "pairs": [{"label": a, "suggested": b, "samples": count} for a, b, count in self.pairs()],
            "suspects": [vars(each) for each in self.suspects],
        }

    def write_csv(self, path: Path) -> None:
        """Write the list as a CSV file with a header, whole or not at all; raises OSError."""
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer)
        writer.writerow(COLUMNS)
        writer.writerows([*vars(each).values(), ""] for each in self._rounded())
        write_whole(path, buffer.getvalue().encode("utf-8", "surrogateescape"))

    def _rounded(self) -> Iterator[Suspect]:
        for each in self.suspects:
            scores = {name: round(getattr(each, name), 4) for name in ("label_score", "suggested_score")}
            yield Suspect(**(vars(each) | scores))


def list_suspects(run: RunFolder, scored: OutOfFold) -> SuspectList:
    """The training and validation samples of a run whose label is most likely wrong."""
    given = run.targets[scored.members]
    errors = find_label_errors(scored.scores, given)
    in_validation = {*run.splits["validation"].tolist()}
    labels, source = run.contract.labels, run.source
    suspects = []
    for rank, (place, suggested) in enumerate(zip(errors.places.tolist(), errors.suggested.tolist(), strict=True), 1):
        index, label = int(scored.members[place]), int(given[place])
        suspects.append(
            Suspect(
                rank=rank,
                index=index,
                file=source.paths[index] if isinstance(source, FileSource) else "",
                split="validation" if index in in_validation else "train",
                label=labels[label],
                suggested=labels[suggested],
                label_score=float(scored.scores[place, label]),
                suggested_score=float(scored.scores[place, suggested]),
            )
        )
    return SuspectList(run, scored, errors, tuple(suspects))
