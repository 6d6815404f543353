"""What builds a release is pinned with a hash, and to the versions of `constraints.txt`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parents[2]
_PINNED = re.compile(r"(?P<name>[a-z-]+)==(?P<version>[0-9.]+)(?:; [^-]+?)? --hash=sha256:[0-9a-f]{64}")


def test_each_has_a_hash_and_the_version_of_the_constraints() -> None:
    lines = [
        line
        for line in (ROOT / "build-requirements.txt").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    pinned = [_PINNED.fullmatch(line) for line in lines]
    assert all(pinned), lines
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert {f"{found['name']}=={found['version']}" for found in pinned if found} <= set(constraints)
    assert "setuptools" in {found["name"] for found in pinned if found}


def test_the_makefile_builds_with_nothing_else() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "--require-hashes --only-binary :all:" in makefile
    builds = [line for line in makefile.splitlines() if "-m build" in line]
    assert builds
    assert all(line.startswith("\t$(PACKAGER)/bin/python -m build --no-isolation ") for line in builds)
