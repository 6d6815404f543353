"""The loop: what is answered, once, and in which order."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runtime import InterpreterError
from runtime.watch import sorter as sorters
from runtime.watch.journal import DEFAULT_NAME, Journal
from runtime.watch.journal_file import History
from runtime.watch.scanner import WatchedFolder
from runtime.watch.sorter import Sorter
from runtime.watch.watcher import Delivery
from tests.support.watching import CLASSIFIER, draw, names, watched

pytestmark = pytest.mark.fast


def test_images_are_answered_once_and_the_rest_is_passed_over(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "B.JPG", 1)
    draw(tmp_path / "deep" / "c.png")
    draw(tmp_path / ".hidden.png")
    draw(tmp_path / "elsewhere" / "real.png")
    for name in ("notes.txt", "x.png.part", "x.png.tmp", "x.jpg.crdownload"):
        (tmp_path / name).write_text("no image")
    (tmp_path / "link.png").symlink_to(tmp_path / "elsewhere" / "real.png")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    told = watched(tmp_path, lambda: draw(tmp_path / "late.png"))
    assert sorted(names(told)) == ["B.JPG", "a.png", "late.png"]
    assert names(told)[-1] == "late.png"
    assert told[0].as_dict() == {
        "path": str(tmp_path / told[0].answer.path),
        "predictions": [p.as_dict() for p in CLASSIFIER.classify(tmp_path / "a.png")],
    }
    assert watched(tmp_path) == []


def test_a_picture_put_in_another_s_place_is_a_new_one(tmp_path: Path) -> None:
    latest = draw(tmp_path / "latest.png")

    def by_rename_with_the_same_time() -> None:
        before = latest.stat()
        new = draw(tmp_path / "new.part.png")
        os.truncate(new, before.st_size)
        os.utime(new, ns=(before.st_mtime_ns, before.st_mtime_ns))
        new.rename(latest)

    told = watched(tmp_path, lambda: draw(latest, 1), lambda: None, by_rename_with_the_same_time, lambda: None)
    assert names(told) == ["latest.png"] * 3
    assert len({answer.answer.identity for answer in told}) == 3
    assert watched(tmp_path) == []


def test_a_truncated_picture_that_grows_is_no_error(tmp_path: Path) -> None:
    for suffix in ("png", "jpg", "webp", "bmp"):
        whole = draw(tmp_path / "elsewhere" / f"w.{suffix}").read_bytes()
        young = tmp_path / f"young.{suffix}"
        young.write_bytes(whole[: len(whole) // 2])
        told = watched(tmp_path, lambda: None, partial(young.write_bytes, whole), lambda: None, patience=60)
        assert [answer.answer.error for answer in told] == [""], suffix
        assert told[0].answer.predictions


def test_one_that_stays_truncated_is_an_error_once(tmp_path: Path) -> None:
    young = draw(tmp_path / "young.png")
    os.truncate(young, young.stat().st_size - 20)
    told = watched(tmp_path, lambda: time.sleep(0.3), lambda: None, lambda: None, patience=0.2)
    assert [a.as_dict() for a in told] == [
        {"path": str(young), "error": f"{young}: truncated PNG, its end is missing"},
    ]
    assert watched(tmp_path) == []
    denied = tmp_path / "huge.png"
    with denied.open("wb") as file:
        file.truncate(65 * 2**20)
    (told_again,) = watched(tmp_path)
    assert "larger than 64 MiB" in told_again.answer.error


def test_what_was_not_told_is_told_again(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    heard: list[Delivery] = []

    def killed(delivery: Delivery) -> None:
        heard.append(delivery)
        raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            watched(tmp_path, deliver=killed)
    assert len(set(names(heard))) == 1
    assert [answer.replayed for answer in heard] == [False, True, True]
    told = watched(tmp_path)
    assert [answer.replayed for answer in told] == [True, False]
    assert told[0].as_dict()["replayed"] is True
    assert sorted(names(told)) == ["a.png", "b.png"]
    assert watched(tmp_path) == []


def test_images_that_were_there_can_be_passed_over_at_the_first_start_alone(tmp_path: Path) -> None:
    old = draw(tmp_path / "old.png")
    assert names(watched(tmp_path, lambda: draw(tmp_path / "new.png"), lambda: None, existing=False)) == ["new.png"]
    draw(tmp_path / "while-away.png")
    assert names(watched(tmp_path, existing=False)) == ["while-away.png"]
    draw(old, 1)
    assert names(watched(tmp_path, existing=False)) == ["old.png"]


def test_a_model_that_fails_stops_the_watch_and_loses_nothing(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")

    def fail(_: bytes) -> Any:
        raise InterpreterError("the model failed to run")

    with pytest.raises(InterpreterError):
        watched(tmp_path, classify=fail)
    assert names(watched(tmp_path)) == ["a.png"]


@pytest.mark.parametrize("where", ["recorded", "moved", "delivered"])
def test_a_move_is_finished_after_a_kill(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in"
    for name in ("a.png", "b.png"):
        draw(folder / name)
    sorter = Sorter(f"{folder}/{{label}}", ["cat", "dog"])
    with monkeypatch.context() as patch:

        def killed(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        if where == "recorded":
            patch.setattr(Sorter, "move", killed)
        else:
            patch.setattr(Journal, "mark_delivered", killed)
        with pytest.raises(KeyboardInterrupt):
            watched(folder, sorter=sorter, deliver=killed if where == "moved" else None)
    told = watched(folder, sorter=sorter)
    assert [answer.replayed for answer in told] == [True, False]
    assert sorted(str(answer.moved_to) for answer in told) == [f"{folder}/cat/{name}" for name in ("a.png", "b.png")]
    assert sorted(path.name for path in folder.iterdir()) == [DEFAULT_NAME, "cat"]
    assert watched(folder, sorter=sorter) == []


@pytest.mark.parametrize("template", [None, "{label}", "file/{label}"])
def test_a_claimed_image_comes_back_if_it_is_not_moved_after_all(
    template: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cat"
    draw(folder / "a.png")
    (tmp_path / "file").write_text("no folder")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sorters, "_place", killed)
        with pytest.raises(KeyboardInterrupt):
            watched(folder, sorter=Sorter(f"{tmp_path}/out/{{label}}", ["cat", "dog"]))
    assert not (folder / "a.png").exists()
    sorter = None if template is None else Sorter(f"{tmp_path}/{template}", ["cat", "dog"])
    (answer,) = watched(folder, sorter=sorter)
    assert answer.replayed
    assert sorted(path.name for path in folder.iterdir()) == [DEFAULT_NAME, "a.png"]


def test_one_that_cannot_be_moved_is_told_with_the_reason(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png")
    (tmp_path / "out").write_text("no folder")
    (answer,) = watched(tmp_path / "in", sorter=Sorter(f"{tmp_path}/out/{{label}}", ["cat", "dog"]))
    assert answer.moved_to is None
    assert "cannot be moved" in answer.as_dict()["move_error"]
    assert answer.as_dict()["predictions"][0]["label"] == "cat"


def closed_journal_rows(folder: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(folder / DEFAULT_NAME)) as connection:
        return connection.execute(query).fetchall()


def test_an_image_that_kills_the_process_twice_becomes_an_error(tmp_path: Path) -> None:
    draw(tmp_path / "bad.png")
    os.utime(tmp_path / "bad.png", (1, 1))  # the oldest comes first
    draw(tmp_path / "good.png", 1)
    code = """
import os, sys
from pathlib import Path
from tests.support.watching import CLASSIFIER, watched
def classify(data):
    if data == (Path(sys.argv[1]) / "bad.png").read_bytes():
        os._exit(9)
    return CLASSIFIER.classify(data)
for delivery in watched(Path(sys.argv[1]), classify=classify):
    print(delivery.as_dict().get("error", "fine"))
"""
    results = [
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
        for _ in range(4)
    ]
    assert [result.returncode for result in results] == [9, 9, 0, 0], results[2].stderr
    assert results[2].stdout == (
        f"{tmp_path}/bad.png: the process died 2 times while it answered this image, so it is passed over\nfine\n"
    )
    assert results[3].stdout == ""
    assert closed_journal_rows(tmp_path, "SELECT * FROM begun") == []


@pytest.mark.parametrize("error", [InterpreterError("x"), KeyboardInterrupt()])
def test_a_process_that_ends_by_an_error_has_not_died_of_its_image(error: BaseException, tmp_path: Path) -> None:
    draw(tmp_path / "a.png")

    def fail(_: bytes) -> Any:
        raise error

    for _ in range(4):
        with pytest.raises(type(error)):
            watched(tmp_path, classify=fail)
    (delivery,) = watched(tmp_path)
    assert delivery.answer.predictions


def test_a_failed_move_is_tried_again_at_the_next_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "in"
    draw(folder / "a.png")
    (tmp_path / "out").write_text("no folder")
    sorter = Sorter(f"{tmp_path}/out/{{label}}", ["cat", "dog"])
    for _ in range(3):
        watched(folder, sorter=sorter)
        watched(folder)  # without --move-to it waits
        assert (folder / "a.png").exists()
    assert caplog.text.count("cannot be moved") == 2  # the first failure is part of the answer
    (tmp_path / "out").unlink()
    assert watched(folder, sorter=sorter) == []
    assert (tmp_path / "out/cat/a.png").exists()
    assert sorted(path.name for path in folder.iterdir()) == [DEFAULT_NAME]
    assert [moved_to for _, moved_to in History(folder / DEFAULT_NAME, folder)] == [f"{tmp_path}/out/cat/a.png"]
    assert closed_journal_rows(folder, "SELECT * FROM moves") == []


def test_an_image_whose_journal_is_lost_in_the_middle_of_a_move_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "in"
    name = "é" * 120 + ".png"
    for image in (folder / "a.png", folder / "deep" / name):
        draw(image)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sorters, "_place", killed)
        for path, identity in WatchedFolder(str(folder), recursive=True).scan().items():
            with pytest.raises(KeyboardInterrupt):
                Sorter(f"{tmp_path}/out/{{label}}", ["cat"]).move(f"{folder}/{path}", identity, "cat")
    assert WatchedFolder(str(folder), recursive=True).scan() == {}
    draw(folder / "a.png", 1)  # the camera has gone on
    told = watched(folder, lambda: None, recursive=True)
    assert sorted(path.name for path in folder.rglob("*.png"))[:2] == ["a-1.png", "a.png"]
    assert len(told) == 3
    assert caplog.text.count("it is back as") == 2
    assert not list(folder.rglob(".pocketlens-*moving*"))


@pytest.mark.parametrize("label", ["../../etc", "another model's", "x\x1b[2J"])
def test_a_label_of_the_journal_that_the_model_lacks_is_not_delivered(
    label: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    draw(tmp_path / "a.png")

    def killed(_: Delivery) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watched(tmp_path, deliver=killed)
    with closing(sqlite3.connect(tmp_path / DEFAULT_NAME)) as connection:
        answer = json.dumps({"predictions": [{"label": label, "score": 0.5, "index": 0}]})
        connection.execute("UPDATE answers SET answer = ?", (answer,))
        connection.commit()
    (delivery,) = watched(tmp_path, labels=["cat", "dog"])
    assert (delivery.answer.predictions[0].label, delivery.replayed) == ("cat", False)
    assert "has a label that the model lacks; it is answered again" in caplog.text
    assert watched(tmp_path, labels=["cat", "dog"]) == []


def test_a_file_that_is_replaced_all_the_time_is_answered_now_and_then(tmp_path: Path) -> None:
    latest = draw(tmp_path / "latest.png")
    count = 0

    def replace() -> None:
        nonlocal count
        count += 1
        draw(tmp_path / "next.part.png", count).rename(latest)
        (tmp_path / "next.part.png").unlink(missing_ok=True)
        time.sleep(0.02)

    began = time.monotonic()
    told = watched(tmp_path, *[replace] * 60, settle=0.3, patience=60)
    assert 2 <= len(told) <= (time.monotonic() - began) / 0.3 + 1
    assert len(told) < count
    assert all(answer.answer.predictions for answer in told)


def test_a_file_that_is_rewritten_all_the_time_is_not_read_and_a_warning_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("runtime.watch.scanner._MIN_WARNING_S", 0.1)
    latest = draw(tmp_path / "latest.png")

    def rewrite() -> None:
        with latest.open("ab") as file:
            file.write(b"x")
        time.sleep(0.01)

    assert watched(tmp_path, *[rewrite] * 40, settle=0.2, patience=0) == []
    assert caplog.text.count("is not read yet, as it has been changing for") == 1
