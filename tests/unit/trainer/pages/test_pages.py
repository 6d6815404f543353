"""The pages of `data show`, `evaluate` and `compare`, made by the commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.browser import check_layout
from tests.support.commands import call_pocketlens, succeed
from tests.support.exports import Trip


def test_data_show_writes_a_page_of_images_and_one_of_vectors(marks_csv: Path, tmp_path: Path) -> None:
    pages = []
    for dataset in ("digits", "circles", marks_csv):
        page = tmp_path / "data.html"
        result = succeed(call_pocketlens("data", "show", dataset, "--html", page, "--json"))
        assert json.loads(result.stdout)["html"] == str(page)
        pages.append(page.read_text(encoding="utf-8"))
        again = succeed(call_pocketlens("data", "show", dataset, "--html", page))
        assert f"page: {page}" in again.stdout
        assert page.read_text(encoding="utf-8") == pages[-1], "the same data make the same page"
    assert "images of each class and split" in pages[0]
    assert "vectors of each class and split" in pages[1]
    assert "image" not in pages[1].partition("<body>")[2].replace("data:image/png", "")
    assert "A sample may have several labels" in pages[2]
    assert all("<script" not in page and "http" not in page.replace("http-equiv", "") for page in pages)
    check_layout(pages, tmp_path)


@pytest.mark.workstation
def test_evaluate_and_compare_write_pages(digits_run: Path, tmp_path: Path) -> None:
    page = tmp_path / "look.html"
    found = succeed(call_pocketlens("evaluate", digits_run, "--html", page, "--json"))
    assert json.loads(found.stdout)["html"] == str(page)
    evaluated = page.read_text(encoding="utf-8")
    for words in ("accuracy", "95 % interval", "Most frequent confusions", "macro average", "Learning curves: "):
        assert words in evaluated
    assert "Thresholds" not in evaluated, "several classes have no threshold"
    compared = tmp_path / "compare.html"
    succeed(call_pocketlens("compare", digits_run, digits_run, "--html", compared))
    text = compared.read_text(encoding="utf-8")
    assert "The settings are the same in all runs." in text
    check_layout([evaluated, text], tmp_path)


@pytest.mark.workstation
def test_the_page_of_a_yes_or_no_has_its_curves(binary_trip: Trip, multilabel_trip: Trip, tmp_path: Path) -> None:
    pages = []
    for trip in (binary_trip, multilabel_trip):
        page = tmp_path / "look.html"
        succeed(call_pocketlens("evaluate", trip.run, "--html", page, "--out", tmp_path / "look"))
        pages.append(page.read_text(encoding="utf-8"))
        assert (tmp_path / "look/roc.png").is_file()
        for name in ("ROC curve", "Precision by recall"):
            assert f"<figcaption>{name}; the mark is the threshold 0.5, from which on a label is predicted" in pages[-1]
        report = (trip.folder / "report.html").read_text(encoding="utf-8")
        pages.append(report)
        for words in ("Thresholds", "float32, test split", "int8, test split", "a label is predicted from"):
            assert words in report
    check_layout(pages, tmp_path)


@pytest.mark.parametrize("command", [("data", "show", "digits"), ("evaluate", "nowhere")])
def test_a_page_is_of_more_than_one_sample(command: tuple[str, ...], tmp_path: Path) -> None:
    result = call_pocketlens(*command, "--index", "test:1", "--html", tmp_path / "one.html")
    assert result.returncode == 2
    assert "leave --index out" in result.stderr
