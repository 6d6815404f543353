"""The publishing of an export: its files are written beside their final place, then renamed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .evaluated_model import EvaluatedModel
from .recipe import MODES

_REJECTED = ".rejected.tflite"
DISAGREEMENTS = "disagreements"


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """A folder inside `out`, removed when the block ends. Its files are published by renaming them."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=out) as folder:
        yield Path(folder)


def final_names(models: Sequence[EvaluatedModel]) -> dict[str, EvaluatedModel]:
    """The models by the names of their files. If one failed a gate, none gets its final name."""
    if any(model.failed for model in models):
        return {model.name + _REJECTED: model for model in models}
    return {model.candidate.recipe.file_name: model for model in models}


def publish(staged: Path, out: Path, models: dict[str, EvaluatedModel], documents: Sequence[str]) -> tuple[Path, ...]:
    """Rename the staged files to their final names, the documents last, since they describe the others.

    Files of an earlier export with the same names are replaced. The rejected file of a model that passes now is
    removed, and so are pictures of disagreements of models that have none now.

    Args:
        documents: names of files in `staged`, in the order in which to publish them.

    Returns:
        The paths of the models and the documents.
    """
    for name, model in models.items():
        (staged / model.candidate.recipe.file_name).replace(out / name)
        if not name.endswith(_REJECTED):
            (out / (model.name + _REJECTED)).unlink(missing_ok=True)
    _publish_pictures(staged / DISAGREEMENTS, out / DISAGREEMENTS)
    for name in documents:
        (staged / name).replace(out / name)
    return (*(out / name for name in models), *(out / name for name in documents))


def _publish_pictures(staged: Path, out: Path) -> None:
    made = {path.name for path in staged.glob("*.png")}
    for old in out.glob("*.png"):
        if old.name not in made and old.name.startswith(MODES):
            old.unlink()
    if made:
        out.mkdir(exist_ok=True)
    elif out.is_dir() and not any(out.iterdir()):
        out.rmdir()
    for name in sorted(made):
        (staged / name).replace(out / name)
