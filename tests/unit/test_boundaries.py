"""Who may import whom."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import runtime

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parents[2]
STANDARD = sys.stdlib_module_names
ALLOWED = {
    "runtime": {"runtime", "numpy", "PIL", "click", "paho", "starlette", "uvicorn", "tuf", "securesystemslib"},
    "trainer": {
        *("runtime", "numpy", "PIL", "click", "tensorflow", "keras", "h5py", "sklearn", "matplotlib"),
        *("jinja2", "markupsafe", "starlette"),
    },
    "exporter": {
        *("runtime", "trainer", "numpy", "PIL", "click", "tensorflow", "keras", "matplotlib", "flatbuffers", "pip"),
        *("tuf", "securesystemslib", "cryptography", "optuna", "sqlalchemy", "sklearn", "ray"),
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
        if module.parent.name == "pyinstaller":  # PyInstaller runs these files
            extra -= {"PyInstaller"}
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


#: Modules whose options are those of other programs.
OTHER_PROGRAMS = {
    *("runtime/watch/code_arguments.py", "runtime/watch/hook.py"),
    *("runtime/camera/byte_sources.py", "runtime/camera/device_sources.py"),
    "trainer/review/rsync.py",
    "runtime/serve/app.py",  # curl's
    "exporter/bundle/wheels.py",  # pip's
    "exporter/bundle/check_device.py",  # the installer's, which starts it
    *("runtime/serve/page.py", "runtime/serve/one_page.py", "trainer/review/page.py"),  # variables of style sheets
}
#: `describe` words the last line of a command; the other one is an option of Python's venv.
OPTIONS_ALLOWED = {("runtime/errors.py", "--debug"), ("runtime/diagnostics.py", "--system-site-packages")}


def test_only_commands_name_options() -> None:
    named: set[tuple[str, str]] = set()
    for path in (path for package in ALLOWED for path in (ROOT / package).rglob("*.py") if "cli" not in path.parts):
        texts = (node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant))
        for text in texts:
            if isinstance(text, str):
                options = re.findall(r"(?<![\w-])--[a-z][\w-]*", text)
                named |= {(str(path.relative_to(ROOT)), option) for option in options}
    assert {found for found in named if found[0] not in OTHER_PROGRAMS} == OPTIONS_ALLOWED


#: Names that two modules may define: type variables, commands that are called as the function they call, and what
#: PyInstaller reads in its hooks.
DEFINED_TWICE = {"Self", "export", "train", "excludedimports"}


def public_names(path: Path) -> Iterator[str]:
    """The public functions, classes, constants and aliases that a module defines."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


def test_a_public_name_has_one_meaning() -> None:
    modules = [path for package in ALLOWED for path in (ROOT / package).rglob("*.py")]
    counts = Counter(name for path in modules for name in set(public_names(path)))
    assert {name for name, count in counts.items() if count > 1} - DEFINED_TWICE == set()


def test_the_public_face_is_what_it_says() -> None:
    assert sorted(runtime.__all__) == runtime.__all__
    for name in runtime.__all__:
        assert getattr(runtime, name) is not None
        if name != "__version__":
            documented = getattr(runtime, name).__doc__
            assert documented, f"{name} has no docstring"
            assert ">>> " in documented, f"{name} has no example"
