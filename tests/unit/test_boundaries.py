"""Who may import whom."""

from __future__ import annotations

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import runtime
from tests.support.exports import Exported, Samples

ROOT = Path(__file__).parents[2]
STANDARD = sys.stdlib_module_names
ALLOWED = {
    "runtime": {"runtime", "numpy", "PIL", "click"},
    "trainer": {"runtime", "numpy", "PIL", "click", "tensorflow", "keras", "sklearn", "matplotlib"},
    "exporter": {
        *("runtime", "trainer", "numpy", "PIL", "click", "tensorflow", "keras", "matplotlib", "flatbuffers"),
        *("jinja2", "markupsafe"),
    },
}


def imported(path: Path) -> set[str]:
    """Top-level names of everything that a module imports from outside its package."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    modules = sorted((ROOT / package).rglob("*.py"))
    assert modules
    for module in modules:
        extra = imported(module) - STANDARD - ALLOWED[package]
        assert not extra, f"{module.relative_to(ROOT)} imports {extra}"


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "statement",
    [
        "from runtime import *",
        "import runtime.cli.main",
        "import exporter, exporter.scoring, exporter.selftest, exporter.representative_dataset_checks",
        "import trainer.cli.train, exporter.cli.export",
        "import trainer.cli.data, trainer.cli.evaluate, trainer.cli.inspect, trainer.cli.compare",
        "import trainer.evaluation.worker",
    ],
)
def test_nothing_heavy_is_loaded(statement: str) -> None:
    heavy = {"tensorflow", "keras", "sklearn", "matplotlib", "scipy"}
    assert not modules_after(statement) & heavy


def test_help_does_not_load_the_trainer_or_the_exporter() -> None:
    code = (
        "import sys; sys.argv[1:] = ['--help']\nfrom runtime.cli.main import main\ntry: main()\nexcept SystemExit: pass"
    )
    assert not modules_after(code) & {"trainer", "exporter", "numpy", "PIL"}


def test_importing_the_package_costs_nothing_until_a_name_is_used() -> None:
    assert not modules_after("import runtime") & {"numpy", "PIL", "click"}
    assert {"numpy", "PIL"} <= modules_after("from runtime import Classifier")


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


def test_the_public_face_is_what_it_says() -> None:
    assert sorted(runtime.__all__) == runtime.__all__
    for name in runtime.__all__:
        assert getattr(runtime, name) is not None
        if name != "__version__":
            documented = getattr(runtime, name).__doc__
            assert documented, f"{name} has no docstring"
            assert ">>> " in documented, f"{name} has no example"
