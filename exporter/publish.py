"""The publishing of an export: its files are written beside their final place, then renamed.

The documents of the earlier export are removed first and the new ones are renamed last, `report.json` as the very last.
If an export is killed, its folder therefore has either a report that describes the models, or no report.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from runtime import PocketlensError
from runtime.files import shown
from trainer.files import locked

from .errors import ExportError
from .evaluated_model import EvaluatedModel
from .recipe import MODES

_REJECTED = ".rejected.tflite"
_STAGING = ".partial-"
_LOCK = ".export.lock"
DISAGREEMENTS = "disagreements"


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """A folder inside `out`, removed when the block ends. Its files are published by renaming them.

    What a killed export has left there is removed first.

    Raises:
        ExportError: another export is writing into `out`.
        OSError: `out` cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    in_use = ExportError(f"{shown(out)}: another export is writing into it; wait for it, or name another `out`")
    with locked(out / _LOCK, in_use) as is_alone:
        for stale in out.glob(f"{_STAGING}*") if is_alone else ():
            shutil.rmtree(stale, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_STAGING, dir=out) as folder, _naming_places(out):
            yield Path(folder)


@contextmanager
def _naming_places(out: Path) -> Iterator[None]:
    """Name the places in the error of a full disk: a write tells no path."""
    try:
        yield
    except OSError as error:
        if isinstance(error, PocketlensError) or error.filename or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, f"{shown(out)} or {tempfile.gettempdir()}") from error


def final_names(models: Sequence[EvaluatedModel]) -> dict[str, EvaluatedModel]:
    """The models by the names of their files. If one failed a gate, none gets its final name."""
    if any(model.failed for model in models):
        return {model.name + _REJECTED: model for model in models}
    return {model.candidate.recipe.file_name: model for model in models}


def publish(
    staged: Path,
    out: Path,
    models: dict[str, EvaluatedModel],
    documents: Sequence[str],
    obsolete: Sequence[str] = (),
) -> tuple[Path, ...]:
    """Rename the staged files to their final names, the documents last, since they describe the others.

    Files of an earlier export with the same names are replaced, its documents before anything else. The rejected file
    of a model that passes now is removed, and so are pictures of disagreements of models that have none now.

    Args:
        documents: names of files in `staged`, in the order in which to publish them.
        obsolete: names of documents of an earlier export that this one does not have.

    Returns:
        The paths of the models and the documents.
    """
    for name in (*reversed(documents), *obsolete):
        (out / name).unlink(missing_ok=True)
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
