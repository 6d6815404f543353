"""Makes a bundle for an emulated system, installs it there without a network, and compares its answers.

The installer runs in a network namespace of its own (`unshare --net`), whose only interface is a loopback that is down.
Its Python must then fail to reach the package index; only so is the network really off.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from exporter.bundle.bundle import SITE_PACKAGES_LIMIT
from runtime import Classifier

#: The target of a bundle for each system of rig.sh.
BUNDLE_TARGETS = {"arm64": "rpi-bookworm-arm64", "armhf": "rpi-bookworm-armhf", "trixie": "rpi-trixie-arm64"}
_PICTURES = 20
_TIMEOUT_S = 1800
_NO_NETWORK = "import socket; socket.create_connection(('151.101.0.223', 443), 5)"


class BundleError(RuntimeError):
    """A step failed; the text is its last lines."""


class BundleOutcome(NamedTuple):
    """A bundle that was installed, or the problem.

    Attributes:
        archive_bytes: the size of the archive.
        made_s, installed_s: wall-clock seconds of `pocketlens bundle` and of install.sh.
        disk_bytes: what the installation takes on the disk.
        site_packages_bytes: the files of its site-packages, compiled modules included.
        same: of `pictures` digits, how many got the label that they get here.
    """

    name: str
    problem: str = ""
    archive_bytes: int = 0
    made_s: float = 0.0
    installed_s: float = 0.0
    disk_bytes: int = 0
    site_packages_bytes: int = 0
    same: int = 0
    pictures: int = 0


def try_bundle(name: str, userland: Path, folder: Path, wheel: Path, material: Path) -> BundleOutcome:
    """Make the bundle, install it twice, and classify.

    Args:
        name: the system, a key of `BUNDLE_TARGETS`.
        userland: the folder that holds its `usr/`.
        folder: where bundle and installation go.
        wheel: our wheel.
        material: the models and images of `make_material`.
    """
    print(f"\n== bundle for {name}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with _without_local_packages(userland):
            return _try(name, userland / "usr" / "bin" / "python3", folder, wheel, material)
    except (BundleError, subprocess.TimeoutExpired, OSError) as error:
        return BundleOutcome(name, str(error))


def _try(name: str, python: Path, folder: Path, wheel: Path, material: Path) -> BundleOutcome:
    model, archive = material / "int8.tflite", folder / "door.tar.gz"
    command = (sys.executable, "-m", "runtime.cli.main", "bundle", model, "--target", BUNDLE_TARGETS[name])
    start = time.monotonic()
    made = json.loads(_run(Path(), *command, "--out", archive, "--wheel", wheel, "--json"))
    made_s = time.monotonic() - start
    shutil.unpack_archive(archive, folder, filter="data")
    offline = ("unshare", *(() if os.geteuid() == 0 else ("--map-root-user",)), "--net")
    if subprocess.run([*offline, str(python), "-c", _NO_NETWORK], capture_output=True, check=False).returncode == 0:
        raise BundleError("the network is not off")
    prefix = folder / "installed"
    install = (*offline, "sh", folder / "door" / "install.sh", "--prefix", prefix, "--python", python)
    start = time.monotonic()
    print(_run(folder, *install), flush=True)
    installed_s = time.monotonic() - start
    again = _run(folder, *install)
    if "installed already" not in again:
        raise BundleError(f"a second installation did something: {again}")
    same = _compare(model, material, (*offline, prefix / "bin" / "pocketlens"), folder)
    disk = sum(path.lstat().st_blocks * 512 for path in prefix.rglob("*"))
    packages = next((prefix / "current" / "env" / "lib").resolve().glob("python3*/site-packages"))
    size = sum(path.lstat().st_size for path in packages.rglob("*") if path.is_file())
    problem = "" if same == _PICTURES else f"{_PICTURES - same} labels differ"
    if size > SITE_PACKAGES_LIMIT:
        problem = f"site-packages has {size / 1e6:.0f} MB, more than {SITE_PACKAGES_LIMIT / 1e6:.0f}"
    return BundleOutcome(name, problem, made["bytes"], made_s, installed_s, disk, size, same, _PICTURES)


def _compare(model: Path, material: Path, program: tuple[object, ...], folder: Path) -> int:
    """For how many pictures the device answers the label of this machine."""
    images = np.load(material / "answers.npz")["images"][:_PICTURES]
    paths = []
    for number, image in enumerate(images):
        paths.append(folder / f"{number}.png")
        Image.fromarray(image[..., 0]).save(paths[-1])
    lines = _run(folder, *program, "classify", "--json", *paths).splitlines()
    classifier = Classifier(model)
    pairs = zip(map(json.loads, lines), paths, strict=True)
    return sum(there["predictions"][0]["label"] == classifier.classify(path)[0].label for there, path in pairs)


@contextmanager
def _without_local_packages(userland: Path) -> Iterator[None]:
    """A userland as it is delivered: what pip put into it for other tests is aside."""
    with_packages = [*(userland / "usr" / "local" / "lib").glob("python3*/dist-packages")]
    for path in with_packages:
        path.rename(path.with_name("aside"))
    try:
        yield
    finally:
        for path in with_packages:
            path.with_name("aside").rename(path)


def _run(folder: Path, *command: object) -> str:
    """What a command prints that runs in a folder; BundleError with its last lines if it fails.

    A command of the device, which runs in another folder than ours, must not find our code.
    """
    ours = ("POCKETLENS_MODEL", *(("PYTHONPATH",) if folder != Path() else ()))
    environment = {key: value for key, value in os.environ.items() if key not in ours}
    words = list(map(str, command))
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise BundleError(" | ".join((done.stdout + done.stderr).strip().splitlines()[-6:]))
    return done.stdout


def print_bundles(outcomes: list[BundleOutcome]) -> None:
    """Print the sizes and times of each bundle."""
    rows: list[tuple[Any, ...]] = [
        ("bundle", "archive MB", "made s", "installed s", "on disk MB", "site-packages MB", "same labels", "result")
    ]
    for one in outcomes:
        rows.append(
            (
                one.name,
                *(f"{value:.1f}" for value in (one.archive_bytes / 1e6, one.made_s, one.installed_s)),
                *(f"{value / 1e6:.1f}" for value in (one.disk_bytes, one.site_packages_bytes)),
                f"{one.same} of {one.pictures}",
                (one.problem and "FAILED") or "passed",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("\nInstalled in a network namespace without interfaces; `made` uses pip's cache.")
    for one in outcomes:
        if one.problem:
            print(f"error: the bundle for {one.name}: {one.problem}")
