"""Pages in a browser without a screen: where each element lies at several widths."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

WIDTHS = (390, 768, 1280, 1920)
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
#: Each page stands in a frame of its own width, so that one start of the browser measures all.
_MEASURE = """
const found = [];
for (const frame of document.querySelectorAll("iframe")) {
  const inner = frame.contentDocument, width = frame.contentWindow.innerWidth, cut = [], broken = [];
  for (const element of inner.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect(), style = frame.contentWindow.getComputedStyle(element);
    const scroller = element.parentElement.closest(".scroll");
    const name = element.tagName + "." + element.className + ": " + element.textContent.slice(0, 40);
    if (!scroller && (box.left < -0.5 || box.right > width + 0.5)) cut.push(name);
    if (scroller && box.width > 0 && box.right > scroller.getBoundingClientRect().left + scroller.scrollWidth + 3)
      cut.push("in a table: " + name);
    if (!element.matches(".scroll, img") && element.clientWidth && style.overflowX != "visible")
      cut.push("hidden: " + name);
    if (!element.matches(".scroll, html, body, svg *") && element.clientWidth
      && element.scrollWidth > element.clientWidth + 1)
      cut.push("spills: " + name);
    if (element.tagName == "IMG" && !element.naturalWidth) broken.push(element.alt);
  }
  const words = inner.createTreeWalker(inner.body, NodeFilter.SHOW_TEXT), torn = [];
  while (words.nextNode()) {
    for (const match of words.currentNode.data.matchAll(/(?<!\\S)[\\p{L}\\p{N}.,%]{2,12}(?!\\S)/gu)) {
      const range = inner.createRange();
      range.setStart(words.currentNode, match.index);
      range.setEnd(words.currentNode, match.index + match[0].length);
      if (new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1) torn.push(match[0]);
    }
  }
  const sizes = [...inner.querySelectorAll("figcaption, td, th, p, li, dd")].map(
    element => parseFloat(frame.contentWindow.getComputedStyle(element).fontSize));
  const scrolls = [...inner.querySelectorAll(".scroll")].filter(box => box.scrollWidth > box.clientWidth);
  found.push({
    asked: Number(frame.width), width, page: inner.documentElement.scrollWidth, cut, broken, torn,
    smallest: Math.min(...sizes),
    scrolls: scrolls.length,
    unmarked: scrolls.filter(
      box => !frame.contentWindow.getComputedStyle(box).backgroundImage.includes("gradient")).length,
    cards: [...inner.querySelectorAll(".card")].map(card => card.getBoundingClientRect().top),
  });
}
const out = document.createElement("pre");
out.id = "found";
out.textContent = JSON.stringify(found);
document.body.append(out);
"""


def browser() -> str:
    """The path of a Chromium; without one the test is skipped."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(f"no browser to lay a page out: none of {', '.join(_NAMES)} is there")
    return path


def lay_out(pages: list[str], folder: Path) -> list[dict[str, Any]]:
    """Where the elements of each page lie, at each of `WIDTHS`: the widths of the first page, then of the second.

    Returns:
        For each page and width: the width `asked` for and that of the frame, the width of the `page`, elements that are
        `cut`, pictures that are `broken`, short words that are `torn` over two lines, the `smallest` font size in
        pixels, how many boxes have `scrolls`, how many of these are `unmarked`, and the tops of the `cards`.
    """
    frames = "".join(
        f'<iframe width="{width}" height="800" style="border: 0" srcdoc="{html.escape(page)}"></iframe>'
        for page in pages
        for width in WIDTHS
    )
    path = folder / "frames.html"
    script = f"<script>addEventListener('load', () => {{ {_MEASURE} }})</script>"
    path.write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{frames}{script}</body>", encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/profile")
    command = [browser(), *options, "--window-size=2000,1000", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    boxes: list[dict[str, Any]] = json.loads(html.unescape(found[1]))
    return boxes


def check_layout(pages: list[str], folder: Path) -> list[dict[str, Any]]:
    """Assert that the pages fit each of `WIDTHS`: nothing is cut, no page scrolls to the side, text can be read."""
    found = lay_out(pages, folder)
    assert [each["width"] for each in found] == [*WIDTHS] * len(pages)
    for each in found:
        assert each["page"] <= each["width"], each
        assert each["cut"] == [], (each["width"], each["cut"][:10])
        assert each["broken"] == []
        assert each["torn"] == [], (each["width"], each["torn"][:10])
        assert each["smallest"] >= 13.5
        assert each["unmarked"] == 0
    return found
