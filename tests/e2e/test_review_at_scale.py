"""The page of `pocketlens review` with many pictures: how soon it is there, and how soon a key is answered."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import browser
from tests.support.commands import ROOT
from tests.support.review import keep, make_dataset, picture_of
from tests.unit.trainer.review.test_decisions import added

#: Presses a key, and gives the milliseconds until another picture has been painted, with its classes.
_PRESS = """key => new Promise(done => {
  const image = document.getElementById("picture"), before = image.dataset.place, begin = performance.now();
  const look = () => {
    const isThere = image.dataset.place !== before && image.complete && image.naturalWidth > 0;
    if (isThere) { requestAnimationFrame(() => done(performance.now() - begin)); } else { requestAnimationFrame(look); }
  };
  document.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  look();
})"""
FIRST_PAGE_S, KEY_MS = 1.0, 100.0


@contextmanager
def review_process(folder: Path, dataset: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`pocketlens review` in a process of its own, and the address of its page."""
    command = [sys.executable, "-m", "runtime.cli.main", "review", str(folder), "--dataset", str(dataset)]
    with subprocess.Popen(
        [*command, "--no-browser", "--json", *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())["url"]
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)


def measure(page: Any, url: str, presses: int) -> tuple[float, list[float]]:
    """Seconds until the first picture is there, and milliseconds until each key is answered."""
    begin = time.perf_counter()
    page.goto(url)
    page.wait_for_function("() => document.getElementById('picture').naturalWidth > 0")
    first = time.perf_counter() - begin
    times = []
    for number in range(presses):
        times.append(page.evaluate(_PRESS, "12-"[number % 3]))
        page.wait_for_timeout(150)
    return first, times


@pytest.mark.slow
def test_the_page_is_there_in_a_second_and_a_key_is_answered_in_a_tenth(tmp_path: Path) -> None:
    """`tests/unit/trainer/review/test_review_page.py` has a small version."""
    count = 10_000
    path = browser()
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is missing")
    folder, pets = tmp_path / "review", make_dataset(tmp_path / "pets")
    for number in range(count):
        keep(folder, number, picture_of(number, side=320), scores={"cat": number / count, "dog": 1 - number / count})
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1280, "height": 800})
        page.goto("about:blank")
        began = time.perf_counter()
        with review_process(folder, pets) as (process, url):
            started = time.perf_counter() - began
            first, while_sorting = measure(page, url, 12)
            page.wait_for_function("() => document.getElementById('sorting').textContent === ''", timeout=600_000)
            sorted_after = time.perf_counter() - began
            once_sorted = [page.evaluate(_PRESS, "12-"[number % 3]) for number in range(12)]
            page.wait_for_function("() => document.getElementById('counts').textContent.startsWith('24 of')")
            process.send_signal(signal.SIGTERM)
            assert process.stdout is not None
            summary = json.loads(process.stdout.read())
            assert process.wait(30) == 0
        chromium.close()
    print(
        f"{count} pictures: command {started:.2f} s, first page {first:.2f} s, sorted after {sorted_after:.1f} s; "
        f"a key {statistics.median(while_sorting):.0f} ms ({max(while_sorting):.0f} at most) while sorting, "
        f"{statistics.median(once_sorted):.0f} ms ({max(once_sorted):.0f} at most) afterwards"
    )
    assert sum(summary["labelled"].values()) == 16 == len(added(pets))
    assert (summary["none"], summary["left"], summary["pictures"]) == (8, count - 24, count)
    assert first < FIRST_PAGE_S
    assert statistics.median(while_sorting) < KEY_MS
    assert statistics.median(once_sorted) < KEY_MS
