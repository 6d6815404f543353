"""The server behind the page: who may ask, what it answers, and what mistakes and strangers get."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime import Classifier
from runtime.testing import FakeInterpreter
from tests.support.models import colour_picture
from tests.support.review import TOKEN, call, keep, make_dataset, picture_of, reviewing, until_ready
from tests.support.serving import Served, listening
from tests.unit.trainer.review.test_decisions import added, rows
from trainer.review.app import Review
from trainer.review.class_folders import ClassFolders, ReviewError
from trainer.review.pictures import Examination, find_pictures
from trainer.review.ranking import Ranking
from trainer.review.shown_picture import picture_for_page


@pytest.fixture
def review(tmp_path: Path) -> Path:
    for number in range(6):
        margin = (0.5, 0.1, 0.8, 0.1, 0.3, 0.9)[number]
        keep(tmp_path / "review", number, scores={"cat": (1 + margin) / 2, "dog": (1 - margin) / 2})
    make_dataset(tmp_path / "pets")
    return tmp_path / "review"


@pytest.fixture
def server(review: Path) -> Iterator[Served]:
    with reviewing(review, review.parent / "pets") as served:
        yield served


def test_pictures_come_with_the_guess_and_the_least_sure_first(server: Served) -> None:
    assert until_ready(server) == {
        "folder": server_folder(server, "folder"),
        "dataset": server_folder(server, "dataset"),
        "classes": ["cat", "dog"],
        "stage": "ready",
        "done": 0,
        "revision": 0,
        "waiting": 6,
        "skipped": 0,
        "decided": 0,
        "unreadable": 0,
    }
    found = call(server, "/v1/pictures?count=9").value["pictures"]
    assert [one["place"] for one in found][2:] == [4, 0, 2, 5]
    assert {one["place"] for one in found[:2]} == {1, 3}
    assert found[-1] == {
        "place": 5,
        "name": "20260005-uncertain.jpg",
        "scores": [["cat", 0.95], ["dog", 0.05]],
        "copies": [],
        "reason": "uncertain",
        "device": "door",
        "time": "2025-11-26T16:00:05Z",
    }
    assert call(server, "/v1/pictures/5/about").value == found[-1]
    content = call(server, "/v1/pictures/5")
    assert (content.headers["content-type"], content.body) == ("image/jpeg", picture_of(5))


def server_folder(server: Served, key: str) -> str:
    return str(call(server, "/v1/review").value[key])


def test_a_decision_twice_is_one_and_another_one_is_refused(server: Served, review: Path) -> None:
    value = {"picture": 0, "action": "label", "label": "cat"}
    assert call(server, "/v1/decisions", value).value["decided"] == 1
    assert call(server, "/v1/decisions", value).status == 200
    assert len(rows(review.parent / "pets")) == 1
    refused = call(server, "/v1/decisions", {**value, "label": "dog"})
    assert (refused.status, refused.value["error"]) == (
        409,
        "20260000-uncertain.jpg: has a decision already; undo it first",
    )
    assert call(server, "/v1/undo", {}).value["picture"]["place"] == 0
    assert call(server, "/v1/undo", {}).value["picture"] is None
    assert added(review.parent / "pets") == []
    assert call(server, "/v1/decisions", {"picture": 0, "action": "skip"}).value["skipped"] == 1
    assert call(server, "/v1/decisions", {**value, "label": "dog"}).value["decided"] == 1


NO_DECISIONS: list[tuple[object, int]] = [
    *(({"picture": place, "action": "none"}, 404) for place in (6, -1, True, "0", None, 1e99, [0])),
    *(({"picture": 0, "action": "label", "label": label}, 400) for label in ("bird", "../x", "", 3, None, ["cat"])),
    ({"picture": 0, "action": "delete"}, 400),
    ({"picture": 0, "action": []}, 400),
    ({"picture": 0, "action": "none", "label": "cat"}, 400),
    *(([], 400), ("x", 400), (3, 400)),
]


def test_what_is_no_decision_is_refused_and_does_nothing(server: Served, review: Path) -> None:
    before = sorted(review.parent.rglob("*"))
    for value, status in NO_DECISIONS:
        answer = call(server, "/v1/decisions", value)
        assert (value, answer.status) == (value, status)
        assert "\n" not in answer.value["error"]
    assert sorted(review.parent.rglob("*")) == before


def test_strangers_get_nothing(server: Served) -> None:
    assert server.ask("/v1/token", b"{}").status == 401, "a review without a code gives its token away"
    paths = ("/v1/review", "/v1/pictures", "/v1/pictures/0", "/v1/decisions", "/v1/undo")
    for path in paths:
        assert server.ask(path).status == 401
        assert server.ask(path, b"{}", Authorization="Bearer wrong").status == 401
    assert server.ask("/").status == 200
    assert call(server, "/v1/review", Host="evil.example").status == 421, "a name that leads here (DNS rebinding)"
    assert call(server, "/v1/undo", {}, Origin="https://evil.example").status == 403
    assert call(server, "/v1/review", Sec_Fetch_Site="cross-site").status == 403
    page = server.ask("/")
    assert TOKEN.encode() not in page.body
    assert "access-control-allow-origin" not in page.headers
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert server.host == "127.0.0.1"


@pytest.mark.parametrize("first", ["right-code", "wrong", ""])
def test_the_code_of_the_browser_is_good_once(first: str, review: Path) -> None:
    opened = Review(review, ClassFolders(review.parent / "pets"), TOKEN, code="right-code")
    with listening(opened, opened.start) as server:
        assert call(server, "/v1/token", {"code": "right-code"}, Host="evil.example").status == 421
        answers = [server.ask("/v1/token", json.dumps({"code": code}).encode()) for code in (first, "right-code")]
    assert [answer.status for answer in answers] == [200 if first == "right-code" else 401, 401]
    assert (answers[0].value.get("token") == TOKEN) is (first == "right-code")
    assert TOKEN.encode() not in answers[1].body


def test_megabytes_are_refused(server: Served) -> None:
    answer = server.ask("/v1/decisions", b" " * 200_000, Authorization=f"Bearer {TOKEN}")
    assert answer.status == 413
    assert call(server, "/v1/review").status == 200
    for body in (b"{", b"[" * 60_000, b"\xff", b'{"picture": 1' + b"0" * 5000 + b"}"):
        assert server.ask("/v1/decisions", body, Authorization=f"Bearer {TOKEN}").status in (400, 404)


def test_other_addresses(server: Served) -> None:
    for path in ("/v1/pictures/99", "/v1/pictures/../../etc/passwd", "/v1/x", "/v1/pictures/-1"):
        assert call(server, path).status == 404, path


def test_without_room_the_page_is_told(server: Served, review: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.review import decisions

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device", str(review))

    monkeypatch.setattr(decisions, "put", full)
    answer = call(server, "/v1/decisions", {"picture": 0, "action": "none"})
    assert (answer.status, answer.value["error"]) == (
        507,
        f"{review}: No space left on device; make room there, or name another folder",
    )
    monkeypatch.undo()
    assert call(server, "/v1/decisions", {"picture": 0, "action": "none"}).value["decided"] == 1


def test_near_copies_get_one_decision_and_one_of_them_goes_in(tmp_path: Path) -> None:
    folder = tmp_path / "review"
    same = Image.open(io.BytesIO(picture_of(1, side=64)))
    for number, quality in enumerate((95, 80, 90)):
        buffer = io.BytesIO()
        same.save(buffer, "JPEG", quality=quality)
        keep(folder, number, buffer.getvalue())
    keep(folder, 7)
    make_dataset(tmp_path / "pets")
    with reviewing(folder, tmp_path / "pets") as server:
        until_ready(server)
        found = call(server, "/v1/pictures?count=9").value["pictures"]
        assert sorted(len(one["copies"]) for one in found) == [0, 2]
        group = next(one for one in found if one["copies"])
        call(server, "/v1/decisions", {"picture": group["place"], "action": "label", "label": "cat"})
        assert len(added(tmp_path / "pets")) == 1
        assert call(server, "/v1/review").value["waiting"] == 1
        assert sorted(call(server, "/v1/undo", {}).value["picture"]["copies"]) == sorted(group["copies"])
        call(server, "/v1/decisions", {"picture": group["place"], "action": "label", "label": "cat", "alone": True})
        assert call(server, "/v1/review").value["waiting"] == 3


def test_pictures_that_cannot_be_read_are_set_aside_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "review"
    keep(folder, 1)
    keep(folder, 2, b"garbage")
    keep(folder, 3, picture_of(3)[:-300])
    make_dataset(tmp_path / "pets")
    with reviewing(folder, tmp_path / "pets") as server:
        assert until_ready(server)["unreadable"] == 2
        assert call(server, "/v1/pictures/1").status == 410
        assert [one["place"] for one in call(server, "/v1/pictures?count=9").value["pictures"]] == [0]
    assert "set aside, as they cannot be read" in caplog.text


def test_a_model_looks_at_the_pictures_anew(review: Path) -> None:
    scores = [[0.55, 0.45], [0.95, 0.05], [0.7, 0.3]]
    model = FakeInterpreter(["cat", "dog"], scores).classifier()
    paths = find_pictures(review)
    ranking = Ranking(len(paths))
    examination = Examination(review, paths, ranking, ClassFolders(review.parent / "pets"), model)
    examination.start()
    examination._thread.join(30)
    assert examination.stage == "ready"
    assert {round(note.scores["cat"], 2) for note in map(examination.note_of, range(6))} == {0.55, 0.95, 0.7}
    margins = [2 * examination.note_of(place).scores["cat"] - 1 for place in ranking.first(9)]
    assert margins == sorted(margins)


@pytest.mark.parametrize("kind", ["TIFF", "WEBP", "BMP", "PNG"])
def test_every_format_reaches_the_browser(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.img"
    Image.fromarray(np.zeros((1500, 3000, 3), np.uint8)).save(path, kind)
    content, mime = picture_for_page(path)
    assert mime == "image/jpeg"
    assert Image.open(io.BytesIO(content)).size == (1280, 640)
    content, _ = picture_for_page(path, small=True)
    assert Image.open(io.BytesIO(content)).size == (160, 80)


def test_folders_that_make_no_sense(tmp_path: Path, review: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "link.jpg").symlink_to(review / "20260000-uncertain.jpg")
    pets = ClassFolders(tmp_path / "pets")
    cases: list[tuple[Any, str]] = [(empty, "no pictures"), (tmp_path / "x", "no such"), (tmp_path / "pets", "lies in")]
    for folder, problem in cases:
        with pytest.raises(ReviewError, match=problem):
            Review(folder, pets, TOKEN)


def test_a_client_that_sends_half_a_request_delays_nobody(server: Served) -> None:
    with socket.create_connection((server.host, server.port)) as slow:
        slow.sendall(b"POST /v1/decisions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50\r\n")
        assert call(server, "/v1/review").status == 200


def test_what_is_sent_is_text(tmp_path: Path) -> None:
    keep(tmp_path / "review", 1, device="<b>x</b>", scores={"<script>": 0.9, "cat": 0.1})
    make_dataset(tmp_path / "pets")
    with reviewing(tmp_path / "review", tmp_path / "pets") as server:
        until_ready(server)
        answer = call(server, "/v1/pictures?count=1")
        assert answer.headers["content-type"] == "application/json"
        assert json.loads(answer.body)["pictures"][0]["scores"] == [["cat", 0.1]]


@pytest.mark.slow
def test_the_embedding_says_how_far_pictures_are(tmp_path: Path, embedding_models: Path) -> None:
    """Two pictures are as unsure; the one that is unlike everything with a label comes first."""
    folder = tmp_path / "review"
    for number, colour in enumerate(((0, 1, 0), (0, 1, 0), (0, 0, 1))):
        keep(folder, number, png_of(colour, 90 + number))
    for label, colour in (("red", (1, 0, 0)), ("green", (0, 1, 0)), ("blue", (0, 0, 1))):
        (tmp_path / "colours" / label).mkdir(parents=True)
        if label != "blue":
            for number in range(3):
                (tmp_path / "colours" / label / f"{number}.png").write_bytes(png_of(colour, number))
    with Classifier(embedding_models / "embedding-float32.tflite") as model:
        ranking = Ranking(3)
        dataset = ClassFolders(tmp_path / "colours")
        examination = Examination(folder, find_pictures(folder), ranking, dataset, model)
        examination.start()
        examination._thread.join(30)
        assert examination.note_of(2).scores["blue"] > 0.5
        assert examination.note_of(2).model == model.sha256
    assert ranking.first(3)[0] == 2


def png_of(colour: tuple[int, int, int], number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(colour_picture(colour, number)).save(buffer, "PNG")
    return buffer.getvalue()
