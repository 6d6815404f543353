"""`python -m tools.release DIST` checks a built sdist and wheel before they are published.

Each is installed into an empty environment, as on a device, and its commands must run there. The wheel's files are
compared with the packages of the repository.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("runtime", "trainer", "exporter")
#: A device downloads and stores the wheel, so it stays small: 1,050,000 bytes are the code alone, about a hundredth of
#: what a device installs; updates, bundles and review are 160,000 of them, budgets and the search 90,000. A picture or
#: a model that gets in by mistake is noticed.
MAX_WHEEL_BYTES = 1_100_000
_FACE = "import runtime, pocketlens; assert runtime.Classifier is pocketlens.Classifier; print(runtime.__version__)"


def members_missing(wheel: Path) -> list[str]:
    """Files of our packages that the wheel lacks."""
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } | {"pocketlens.py"}
    with zipfile.ZipFile(wheel) as archive:
        return sorted(expected - set(archive.namelist()))


def try_package(package: Path, version: str) -> None:
    """Install a distribution into an empty environment, and run its version and help commands there.

    Raises:
        subprocess.CalledProcessError: it cannot be installed, or a command fails.
        SystemExit: it has another version.
    """
    with tempfile.TemporaryDirectory(prefix="pocketlens-release-") as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder) / "bin" / "python"
        options = ("--quiet", "--disable-pip-version-check", "-c", str(ROOT / "constraints.txt"))
        subprocess.run([python, "-m", "pip", "install", *options, str(package.resolve())], check=True)
        done = subprocess.run([python, "-c", _FACE], cwd=folder, check=True, capture_output=True, text=True)
        if done.stdout.strip() != version:
            sys.exit(f"error: {package.name}: version {done.stdout.strip()}, expected {version}")
        for arguments in (("--version",), ("--help",), ("classify", "--help"), ("doctor",)):
            subprocess.run(
                [Path(folder) / "bin" / "pocketlens", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL
            )


def check(dist: Path) -> None:
    """Check the one wheel and the one sdist of a folder; SystemExit with one line if something is wrong."""
    wheels, sdists = sorted(dist.glob("*.whl")), sorted(dist.glob("*.tar.gz"))
    if len(wheels) != 1 or len(sdists) != 1:
        sys.exit(f"error: {dist}: {len(wheels)} wheels and {len(sdists)} sdists, expected one of each")
    wheel, sdist = wheels[0], sdists[0]
    version = wheel.name.split("-")[1]
    if missing := members_missing(wheel):
        sys.exit(f"error: {wheel.name}: lacks {', '.join(missing[:5])}; see [tool.setuptools] in pyproject.toml")
    if wheel.stat().st_size > MAX_WHEEL_BYTES:
        sys.exit(f"error: {wheel.name}: {wheel.stat().st_size:,} bytes, expected at most {MAX_WHEEL_BYTES:,}")
    with tarfile.open(sdist) as archive:
        if f"{sdist.name.removesuffix('.tar.gz')}/LICENSE" not in archive.getnames():
            sys.exit(f"error: {sdist.name}: has no LICENSE")
    for package in (wheel, sdist):
        try_package(package, version)
        print(f"{package.name}: {package.stat().st_size:,} bytes, installs and runs in an empty environment")


if __name__ == "__main__":
    check(Path(sys.argv[1]))
