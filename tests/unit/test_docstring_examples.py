"""What the docstrings show is what happens."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from tests.support.exports import Exported, Samples

ROOT = Path(__file__).parents[2]
WITH_EXAMPLES = sorted(path for path in (ROOT / "runtime").rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_in_the_docstrings_run(
    path: Path, digits_export: Exported, digits_samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the examples find in the working folder.
    (tmp_path / "int8.tflite").write_bytes(digits_export.int8.read_bytes())
    seven = digits_samples.files[[int(target) for target in digits_samples.targets].index(7)]
    (tmp_path / "seven.png").write_bytes(seven.read_bytes())
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
