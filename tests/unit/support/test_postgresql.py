"""The temporary PostgreSQL."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.postgresql import programs, temporary_postgresql

pytestmark = pytest.mark.fast


def test_a_server_answers_in_utf_8_and_ends_with_its_context() -> None:
    psql = str(programs() / "psql")
    with temporary_postgresql() as address:
        command = [psql, address, "--tuples-only", "--no-align", "--command=SHOW server_encoding"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "UTF8"
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
