"""The loop: what is answered, once, and in which order."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runtime import InterpreterError
from runtime.watch import sorter as sorters
from runtime.watch.journal import DEFAULT_NAME, Journal
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
