"""The study of a search, on SQLite and on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="needs optuna")
from exporter.errors import StorageError
from exporter.search.storage import open_study

pytestmark = pytest.mark.fast


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "a {study}?.db") if request.param == "sqlite" else request.getfixturevalue("postgresql")


def test_a_study_goes_on_with_the_same_data_and_refuses_others(storage: str) -> None:
    open_study(storage, "a" * 64, ["maximize"]).enqueue_trial({"x": 1.0})
    assert len(open_study(storage, "a" * 64, ["maximize"]).trials) == 1
    with pytest.raises(StorageError, match=r"has the data set aaaaaaaaaaaa, not bbbbbbbbbbbb: .*(`name`|folder)$"):
        open_study(storage, "b" * 64, ["maximize"])
    assert not open_study(storage, "b" * 64, ["maximize"], name="other").trials
    with pytest.raises(StorageError, match="`name` other@b: a search is named by"):
        open_study(storage, "b" * 64, ["maximize"], name="other@b")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "postgresql://me:secret@127.0.0.1:1/none",
            r"^postgresql://me:\*\*\*@127.0.0.1:1/none cannot be used: .*refused",
        ),
        ("mysql://host/none", "begins with mysql://"),
        ("://none", "is no address"),
        ("/nowhere/study.db", "unable to open database file"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line(address: str, said: str) -> None:
    with pytest.raises(StorageError, match=said) as raised:
        open_study(address, "a", ["maximize"])
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    path.write_text("no database" * 100, "utf-8")
    with pytest.raises(StorageError, match="file is not a database"):
        open_study(path, "a", ["maximize"])
