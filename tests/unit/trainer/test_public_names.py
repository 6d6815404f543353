"""The names of the package: each comes when it is first used, and `import trainer` imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import trainer
from trainer.config import TrainingConfig

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", trainer.__all__)
def test_each_name_is_there_and_documented(name: str) -> None:
    assert getattr(trainer, name).__doc__
    assert name in dir(trainer)


def test_train_is_the_function_whatever_was_imported_before() -> None:
    import trainer.training
    from trainer import train

    assert train is trainer.training.train


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'teach'"):
        _ = trainer.teach


def test_the_settings_are_a_light_import() -> None:
    code = (
        "from trainer import TrainingConfig, read_run, load_dataset; TrainingConfig(); import sys; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"tensorflow", "keras", "sklearn", "matplotlib", "scipy"}


def test_files_keep_the_names_of_settings() -> None:
    """`metrics.json` and the identity of checkpoints have them."""
    settings = TrainingConfig(normalize=False).as_dict()
    assert settings["normalise"] is False
    assert "normalize" not in settings
    assert settings["scaling"] == "none"
    assert TrainingConfig(scaling="none") == TrainingConfig(normalize=False)
    assert list(settings)[:3] == ["architecture", "size", "units"]
