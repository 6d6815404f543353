"""Runs the runtime's own tests, with the wheel, on systems without TensorFlow, and prints the results.

    python -m tools.device.check device [TARGET...]   emulated Raspberry Pis: arm64, armhf, trixie (rig.sh)
    python -m tools.device.check bundle [TARGET...]   on these, bundles alone: made, installed offline, asked
    python -m tools.device.check slim [PYTHON...]     virtual environments on this processor

The models and the expected answers are made first, on this machine (`material.py`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import runtime
from tools.device.bundle import BundleOutcome, print_bundles, try_bundle
from tools.device.outcome import Outcome, print_table

ROOT = Path(__file__).parents[2]
RIG = Path(__file__).with_name("rig.sh")
HOME = Path(os.environ.get("DEVICE_HOME") or ROOT / "build" / "device").resolve()
TESTS = ("tests/unit/runtime", "tests/device/on_device.py")
TARGETS = ("arm64", "armhf", "trixie")
PYTHONS = ("python3.10", "python3.11", "python3.12", "python3.13")
#: On 32-bit ARM only Debian has these packages, so Debian's versions are tested.
FROM_DEBIAN = ("numpy", "pillow")
TIMEOUT_S = 3600
PIP_OPTIONS = ("--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--no-warn-script-location")


def run(*command: object) -> None:
    """Run a command and show its output; CalledProcessError if it fails. The shell's Python path is not passed on."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    subprocess.run(list(map(str, command)), check=True, env={**environment, "PYTHON": sys.executable})


def constraints(without: Sequence[str]) -> Path:
    """Write a copy of constraints.txt without some packages, and return its path."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    path = HOME / f"constraints{'-without-' * bool(without)}{'-'.join(without)}.txt"
    path.write_text("".join(line for line in lines if line.partition("==")[0] not in without), encoding="utf-8")
    return path


def prepare_device(target: str, wheel: Path) -> Path:
    """Build the emulated system, install the wheel in it, and return its Python."""
    run(RIG, "build", target)
    system = ("--break-system-packages", *PIP_OPTIONS)
    run(RIG, "pip", target, "uninstall", "--yes", "pocketlens", *system[:2], "--root-user-action=ignore")
    limits = constraints(FROM_DEBIAN if target == "armhf" else ())
    run(RIG, "pip", target, "install", *system, "--no-compile", "-c", limits, wheel, "pytest")
    return HOME / target / "usr" / "bin" / "python3"


def install_bundle(target: str, wheel: Path, material: Path) -> BundleOutcome:
    """Build the emulated system, and install a bundle in it without a network."""
    try:
        run(RIG, "build", target)
    except (subprocess.CalledProcessError, OSError) as error:
        return BundleOutcome(target, f"cannot be prepared: {error}")
    return try_bundle(target, HOME / target, HOME / "runs" / f"bundle-{target}", wheel, material)


def prepare_slim(python: str, litert: bool, folder: Path, wheel: Path) -> Path:
    """Make a virtual environment with the wheel, and return its Python.

    Args:
        python: the command to make it with.
        litert: install ai-edge-litert and numpy 2 instead of the wheel's own dependencies for this Python.
    """
    run(python, "-m", "venv", "--clear", folder)
    install = (folder / "bin" / "python", "-m", "pip", "install", *PIP_OPTIONS)
    limits = ("-c", constraints(("numpy",) if litert else ()))
    if litert:
        run(*install, *limits, "ai-edge-litert", "numpy>=2", "pillow", "click", "pytest")
        run(*install, "--no-deps", wheel)
    else:
        run(*install, *limits, wheel, "pytest")
    return folder / "bin" / "python"


def check(name: str, prepare: Callable[[], Path], material: Path) -> Outcome:
    """Prepare a system and run the tests on it, from a copy that does not contain the packages."""
    print(f"\n== {name}", flush=True)
    start = time.monotonic()
    folder = HOME / "runs" / name
    shutil.rmtree(folder, ignore_errors=True)
    for package in ("tests", "fuzz"):  # the tests of image limits use the corpus in fuzz
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    report = folder / "report.xml"
    try:
        python = prepare()
    except (subprocess.CalledProcessError, OSError) as error:
        return Outcome(name, f"cannot be prepared: {error}", time.monotonic() - start)
    prepared = time.monotonic()
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "POCKETLENS_MODEL")}
    environment["POCKETLENS_TEST_MODELS"] = str(material)
    options = ("-q", "--durations=5", f"--junitxml={report}", "-o", "junit_family=xunit1")
    command = [str(python), "-m", "pytest", *options, *TESTS]
    try:
        done = subprocess.run(command, cwd=folder, env=environment, timeout=TIMEOUT_S, check=False)
        problem = "" if done.returncode == 0 else f"pytest's exit status {done.returncode}"
    except subprocess.TimeoutExpired:
        problem = f"not finished within {TIMEOUT_S} s"
    return Outcome.read(name, problem, prepared - start, time.monotonic() - prepared, report)


def make_material() -> Path:
    """The folder of models and expected answers; made again if any file that they depend on has changed."""
    digest = hashlib.sha256(sys.version.encode())
    for package in ("runtime", "trainer", "exporter", "tools/device", "tests/device"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name not in ("bundle.py", "check.py", "on_device.py", "outcome.py"):
                digest.update(path.read_bytes())
    for name in (
        "tests/conftest.py",
        "tests/support/commands.py",
        "tests/support/exports.py",
        "tests/support/models.py",
        "tests/support/external_models.py",
        "constraints.txt",
    ):
        digest.update((ROOT / name).read_bytes())
    folder = HOME / f"material-{digest.hexdigest()[:12]}"
    if not folder.exists():
        print("== models and expected answers, with TensorFlow (takes minutes)", flush=True)
        for old in HOME.glob("material-*"):
            shutil.rmtree(old)
        partial_folder = HOME / "material-partial"
        log = HOME / "material.log"
        command = [sys.executable, "-m", "tools.device.material", str(partial_folder)]
        with log.open("w") as output:
            done = subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            sys.exit(f"error: the models cannot be made: {log.read_text().splitlines()[-1]} (full log: {log})")
        partial_folder.rename(folder)
    return folder


def version_of(python: str) -> tuple[int, int] | None:
    """The version of the Python that a command starts; None if it starts none, as some of pyenv's commands do."""
    code = "import sys, venv; print(*sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return None
    major, minor = done.stdout.split() if done.returncode == 0 else ("0", "0")
    return (int(major), int(minor)) if done.returncode == 0 else None


def slim_places(requested: Sequence[str], wheel: Path) -> dict[str, Callable[[], Path]]:
    """The environments to test on this processor, by name: one for each Python.

    An older Python also gets one with ai-edge-litert if no newer Python is installed.
    """
    candidates = {python: version_of(python) for python in requested or PYTHONS}
    missing = [python for python, version in candidates.items() if version is None]
    if missing and requested:
        sys.exit(f"error: {', '.join(missing)}: cannot be started as Python; name others: make slim SLIM_PYTHONS='...'")
    if missing:
        print(f"skipped, not installed here: {', '.join(missing)}", flush=True)
    versions = {python: version for python, version in candidates.items() if version is not None}
    places: dict[str, Callable[[], Path]] = {}
    for python, version in versions.items():
        name = f"slim-{version[0]}.{version[1]}"
        places[name] = partial(prepare_slim, python, False, HOME / "venvs" / name, wheel)
        if version < (3, 12) and not any(other >= (3, 12) for other in versions.values()):
            places[f"{name}-litert"] = partial(prepare_slim, python, True, HOME / "venvs" / f"{name}-litert", wheel)
    if not requested and not any(version < (3, 12) for version in versions.values()):
        sys.exit(
            "error: tflite-runtime needs Python 3.10 or 3.11, and neither is installed: make slim SLIM_PYTHONS=..."
        )
    return places


def main(arguments: Sequence[str]) -> int:
    """Check every system, even if another fails; return 1 unless all passed."""
    if not arguments or arguments[0] not in ("device", "bundle", "slim"):
        sys.exit(__doc__)
    kind, requested = arguments[0], list(arguments[1:])
    unknown = [name for name in requested if kind != "slim" and name not in TARGETS]
    if unknown:
        sys.exit(f"error: no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    wheel = ROOT / "dist" / f"pocketlens-{runtime.__version__}-py3-none-any.whl"
    if not wheel.is_file():
        sys.exit(f"error: {wheel} is not built; run `make wheel`")
    HOME.mkdir(parents=True, exist_ok=True)
    places: dict[str, Callable[[], Path]]
    if kind == "slim":
        places = slim_places(requested, wheel)
    else:
        places = {target: partial(prepare_device, target, wheel) for target in requested or TARGETS}
    material = make_material()
    bundles = [install_bundle(target, wheel, material) for target in places if kind != "slim"]
    outcomes = [check(name, prepare, material) for name, prepare in places.items() if kind != "bundle"]
    if outcomes:
        print_table(outcomes)
    if bundles:
        print_bundles(bundles)
    return 0 if all(outcome.passed for outcome in outcomes) and not any(one.problem for one in bundles) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
