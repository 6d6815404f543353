"""The page in a real browser: keys, fingers, many classes, a closed tab, and a server that is killed."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.e2e.test_review_at_scale import FIRST_PAGE_S, KEY_MS, measure
from tests.support.browser import browser
from tests.support.review import TOKEN, keep, make_dataset, picture_of, reviewing
from tests.support.serving import Served, listening
from tests.unit.trainer.review.test_decisions import added
from trainer.review.app import Review
from trainer.review.class_folders import ClassFolders
from trainer.review.journal import JsonLines

pytestmark = pytest.mark.fast

_SPILLS = """[...document.querySelectorAll("main *")].filter(element => {
  const box = element.getBoundingClientRect();
  return !element.matches(".hidden-text") && box.width && (box.left < -0.5 || box.right > innerWidth + 0.5);
}).map(element => element.outerHTML)"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = browser()
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is missing")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


def opened(chromium: Any, server: Served, width: int = 1280, start: str = f"token={TOKEN}", **options: Any) -> Any:
    """The page, with its first picture."""
    context = chromium.new_context(viewport={"width": width, "height": 800}, **options)
    page = context.new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    page.set_default_timeout(20_000)
    page.goto(f"{server.url}/#{start}")
    page.wait_for_function("() => document.getElementById('picture').naturalWidth > 0")
    assert page.url == f"{server.url}/", "the token stays in the address"
    return page


def wait_for(page: Any, text: str) -> None:
    page.wait_for_function("text => document.getElementById('counts').textContent.startsWith(text)", arg=text)


def shown(page: Any) -> str:
    """The file that is shown."""
    return str(page.inner_text("#about")).rpartition(" ")[2]


@pytest.fixture
def review(tmp_path: Path) -> Path:
    for number in range(8):
        keep(tmp_path / "review", number, scores={"cat": 0.52 + number / 20, "dog": 0.48 - number / 20})
    make_dataset(tmp_path / "pets", ("bird", "cat", "dog"))
    return tmp_path / "review"


def test_keys_label_skip_and_undo(chromium: Any, review: Path) -> None:
    pets = review.parent / "pets"
    with reviewing(review, pets) as server:
        page = opened(chromium, server)
        page.wait_for_function("() => document.getElementById('sorting').textContent === ''")
        assert page.inner_text(".chosen .name") == "cat", "the model's guess is not chosen"
        first = shown(page)
        page.keyboard.press("3")
        wait_for(page, "1 of 8 done")
        page.keyboard.press("Enter")
        wait_for(page, "2 of 8 done")
        assert [name.split("/")[1] for name in added(pets)] == ["cat", "dog"]
        assert any(name.startswith(f"train/dog/{Path(first).stem}") for name in added(pets))
        page.keyboard.press("-")
        wait_for(page, "3 of 8 done")
        skipped = shown(page)
        page.keyboard.press("Space")
        wait_for(page, "3 of 8 done, 1 skipped")
        assert page.inner_text("#said").startswith("skipped. Next picture, probably cat")
        assert shown(page) != skipped
        for left in ("3 of 8 done", "2 of 8 done", "1 of 8 done", "0 of 8 done"):
            page.keyboard.press("Backspace")
            wait_for(page, left)
        assert shown(page) == first
        assert added(pets) == []
        for number in range(8):
            page.keyboard.press("1")
            wait_for(page, f"{number + 1} of 8 done")
        page.wait_for_selector("#end", state="visible")
        assert page.problems == []
        page.context.close()
    assert len(added(pets)) == 8


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_fingers_are_enough_and_it_fits(width: int, scheme: str, chromium: Any, review: Path) -> None:
    keep(review, 20, device="a device with a name that is far too long for a telephone " * 2)
    with reviewing(review, review.parent / "pets") as server:
        page = opened(chromium, server, width, has_touch=True, color_scheme=scheme)
        page.tap("#classes button:nth-child(1)")
        wait_for(page, "1 of 9 done")
        page.tap("#none")
        wait_for(page, "2 of 9 done")
        page.tap("#undo")
        wait_for(page, "1 of 9 done")
        page.tap("#accept")
        wait_for(page, "2 of 9 done")
        assert page.evaluate(_SPILLS) == []
        buttons = "[...document.querySelectorAll('button')].filter(each => each.offsetParent)"
        sizes = page.evaluate(f"{buttons}.map(each => each.offsetHeight)")
        assert min(sizes) >= 44, "too small for a finger"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.context.close()


def test_of_many_classes_one_is_found_by_typing(chromium: Any, review: Path) -> None:
    many = tuple(f"{kind} {number}" for kind in ("sparrow", "finch", "gull") for number in range(6))
    make_dataset(review.parent / "birds", many, splits=())
    keep(review, 0, scores={"gull 4": 0.5, "finch 1": 0.4, "sparrow 2": 0.1})
    with reviewing(review, review.parent / "birds") as server:
        page = opened(chromium, server)
        page.wait_for_function("() => document.getElementById('sorting').textContent === ''")
        labels = [text.split("\n")[:2] for text in page.locator("#classes button").all_inner_texts()]
        if shown(page) == "20260000-uncertain.jpg":
            assert labels[:3] == [["1", "gull 4"], ["2", "finch 1"], ["3", "sparrow 2"]]
        page.keyboard.type("h 5")
        assert page.locator("#classes button").all_inner_texts() == ["finch 5"]
        page.keyboard.press("Enter")
        wait_for(page, "1 of 8 done")
        page.keyboard.type("gull")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        wait_for(page, "2 of 8 done")
        page.keyboard.type("zebra")
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        page.keyboard.press("1")
        wait_for(page, "3 of 8 done")
        page.context.close()
    found = sorted(name.split("/")[0] for name in added(review.parent / "birds"))
    assert len(found) == 3
    assert {"finch 5", "gull 1"} <= {*found}


def test_digits_are_labelled_by_their_own_key(chromium: Any, review: Path) -> None:
    make_dataset(review.parent / "digits", tuple("0123456789"), splits=())
    with reviewing(review, review.parent / "digits") as server:
        page = opened(chromium, server)
        page.keyboard.press("7")
        wait_for(page, "1 of 8 done")
        page.context.close()
    assert added(review.parent / "digits")[0].startswith("7/")


def test_a_closed_tab_loses_nothing_and_the_next_start_goes_on(chromium: Any, review: Path) -> None:
    pets = review.parent / "pets"
    with reviewing(review, pets) as server:
        page = opened(chromium, server)
        for _ in range(5):
            page.keyboard.press("2")
        page.close(run_before_unload=False)
        for _ in range(100):
            if len(added(pets)) == 5:
                break
            time.sleep(0.05)
        page.context.close()  # that ends the browser's connections too
        assert len(added(pets)) == 5
    with reviewing(review, pets) as server:
        page = opened(chromium, server)
        wait_for(page, "5 of 8 done")
        page.context.close()


def test_what_was_decided_while_the_server_was_away_is_sent_again(chromium: Any, review: Path) -> None:
    pets = review.parent / "pets"
    with reviewing(review, pets) as server:
        page = opened(chromium, server)
        page.wait_for_function("() => document.getElementById('sorting').textContent === ''")
        page.wait_for_timeout(200)
    page.keyboard.press("2")
    page.wait_for_selector("#problem", state="visible")
    assert "Is it still running?" in page.inner_text("#problem")
    assert added(pets) == []
    with reviewing(review, pets, port=server.port):
        wait_for(page, "1 of 8 done")
        page.wait_for_selector("#problem", state="hidden")
        assert len(added(pets)) == 1
        page.context.close()


def test_a_browser_that_is_started_with_a_code_gets_in(chromium: Any, review: Path) -> None:
    started = Review(review, ClassFolders(review.parent / "pets"), TOKEN, code="one-time-code")
    with listening(started, started.start) as server:
        page = opened(chromium, server, start="once=one-time-code")
        page.reload()
        page.wait_for_function("() => document.getElementById('picture').naturalWidth > 0")
        first, times = measure(page, page.url, 6)
        assert first < FIRST_PAGE_S
        assert statistics.median(times) < KEY_MS
        wait_for(page, "6 of 8 done")
        page.context.close()


def test_a_wrong_token_is_said(chromium: Any, review: Path) -> None:
    with reviewing(review, review.parent / "pets") as server:
        page = chromium.new_page()
        page.goto(f"{server.url}/#token=wrong")
        page.wait_for_selector("#problem", state="visible", timeout=20_000)
        assert "not the right token" in page.inner_text("#problem")
        page.close()


def test_near_copies_are_shown_and_can_be_labelled_one_by_one(chromium: Any, review: Path) -> None:
    for number in range(40, 43):
        buffer = io.BytesIO()
        Image.open(io.BytesIO(picture_of(40, side=64))).save(buffer, "JPEG", quality=70 + 5 * (number - 40))
        keep(review, number, buffer.getvalue(), scores={"cat": 0.5, "dog": 0.5})
    with reviewing(review, review.parent / "pets") as server:
        page = opened(chromium, server)
        page.wait_for_function("() => document.getElementById('sorting').textContent === ''")
        while not page.is_visible("#copies"):
            page.keyboard.press("Space")
            page.wait_for_timeout(50)
        assert page.locator("#thumbs img").count() == 2
        page.keyboard.press("+")
        page.wait_for_selector("#copies", state="hidden")
        page.keyboard.press("2")
        wait_for(page, "1 of 11 done")
        page.keyboard.press("2")
        wait_for(page, "2 of 11 done")
        page.context.close()
    assert len([line for line in JsonLines(review / "decisions.jsonl").lines if line.get("action") == "label"]) == 2
