"""The page in a real browser: a picture dropped in, the label read, the live view as it changes."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.camera.reader import FrameReader
from runtime.live.stabilizer import Stabilizer
from runtime.serve.live_view import LiveView
from runtime.testing import FakeCamera, FakeInterpreter
from tests.support.browser import browser
from tests.support.commands import ROOT
from tests.support.serving import encoded, fake_classifier, served

pytestmark = pytest.mark.fast

TOKEN = "correct-horse-battery"
#: No label may become a part of the page.
LABELS = ("<b>closed</b>", "a label that is far longer than a telephone is wide, and goes on")
_SPILLS = """[...document.querySelectorAll("section :not(input)")].filter(
  element => element.clientWidth && element.scrollWidth > element.clientWidth + 1).map(element => element.outerHTML)"""
_DROP = """([id, data]) => {
  const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0)), files = new DataTransfer();
  files.items.add(new File([bytes], "cat.jpg", {type: "image/jpeg"}));
  const event = new DragEvent("drop", {dataTransfer: files, bubbles: true, cancelable: true});
  document.getElementById(id).dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = browser()
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is missing")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"],
        )
        yield found
        found.close()


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page on which nothing goes wrong, a policy that blocks something included."""
    problems: list[str] = []
    opened = chromium.new_page(viewport={"width": 390, "height": 800})
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.set_default_timeout(20_000)
    opened.problems = problems
    yield opened
    opened.close()


def drop(page: Any, picture: bytes) -> None:
    page.evaluate(_DROP, ["drop", base64.b64encode(picture).decode()])


def test_a_picture_that_is_dropped_in_is_answered(page: Any) -> None:
    with served() as server:
        page.goto(server.url)
        page.wait_for_function("() => document.getElementById('model').textContent === '2 labels: cat, dog'")
        assert not page.is_visible("#live")
        drop(page, (ROOT / "tests/photographs/cat.jpg").read_bytes())
        page.wait_for_function("() => document.getElementById('best').textContent === 'cat'")
        assert page.inner_text("#scores li:first-child").split("\n") == ["cat", "90.0 %"]
        assert page.evaluate("document.getElementById('tried').naturalWidth") > 0
    assert [problem for problem in page.problems if "404" not in problem] == []


def test_what_is_no_picture_is_said(page: Any) -> None:
    with served() as server:
        page.goto(server.url)
        drop(page, b"no picture")
        page.wait_for_function("() => document.getElementById('error').textContent.includes('not an image')")
        assert page.inner_text("#best") == ""


def test_the_camera_of_the_browser_is_answered(page: Any) -> None:
    with served() as server:
        page.goto(server.url)
        page.click("#camera")
        page.wait_for_function("() => document.getElementById('best').textContent === 'cat'")
        assert page.is_visible("#video")
        page.click("#camera")
        assert page.is_visible("#drop")


def test_a_server_with_a_token_asks_for_it(page: Any) -> None:
    with served(token=TOKEN) as server:
        page.goto(server.url)
        page.wait_for_selector("#login", state="visible")
        page.fill("#token", TOKEN)
        page.click("#login button")
        page.wait_for_selector("#login", state="hidden")
        drop(page, encoded())
        page.wait_for_function("() => document.getElementById('best').textContent === 'cat'")


@pytest.mark.parametrize("width", [390, 1280])
def test_the_live_view_changes_and_fits(width: int, page: Any, tmp_path: Path) -> None:
    classifier = FakeInterpreter(LABELS, [[0.9, 0.1]] * 10 + [[0.2, 0.8]] * 10).classifier()
    camera = FakeCamera([encoded(1, 64, "JPEG"), encoded(2, 64, "JPEG")], fps=10, rounds=1000)
    live = LiveView(FrameReader(camera), classifier, Stabilizer(LABELS, stable=(2, 3)), lambda event: None)
    page.set_viewport_size({"width": width, "height": 800})
    with served(fake_classifier().classify, live=live) as server:
        page.goto(server.url)
        for label in (*LABELS, LABELS[0]):
            page.wait_for_function("label => document.getElementById('state').textContent === label", arg=label)
        page.wait_for_function("() => document.querySelectorAll('#changes li').length >= 3")
        page.wait_for_function("() => document.getElementById('picture').naturalWidth === 64")
        first = page.get_attribute("#picture", "src")
        page.wait_for_function("old => document.getElementById('picture').src !== old", arg=first)
        assert page.evaluate("document.querySelectorAll('b').length") == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(_SPILLS) == []
        page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert [problem for problem in page.problems if "404" not in problem] == []
