"""The report for people: what comes from outside is shown, never obeyed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import numpy as np
import pytest
from PIL import Image

from exporter.candidate import Candidate
from exporter.cli.summary_table import summary_table
from exporter.evaluated_model import EvaluatedModel, evaluate_model
from exporter.gates import Limits
from exporter.recipe import ExportConfig, Recipe
from exporter.report.contact_sheet import make_tiles
from exporter.report.html import TEMPLATES, ReportPictures, html_page
from exporter.report.model_card import model_card
from exporter.report.report import Settings, make_report, make_timings
from exporter.report.write import DOCUMENTS, write_documents
from runtime import Contract, ImageInput, Provenance
from tests.support.browser import check_layout
from trainer.data.run_folder import RunFolder
from trainer.data.sources import ArraySource, FileSource
from trainer.evaluation.corruptions import CORRUPTIONS, VERSIONS
from trainer.evaluation.predictions import Predictions, disagreements
from trainer.evaluation.robustness import measure_robustness
from trainer.pages.parts import PageFigure, PageTile, TileSheet, change_bars, confusion_matrix, top_confusions
from trainer.pages.templating import escape_markdown, render
from trainer.plots.figure import png_bytes
from trainer.plots.image_grid import LARGE_TILES, draw_tiles

HOSTILE = ("<script>alert(1)</script>", "$\\frac{", '"><img src=x onerror=alert(1)>', "a|b*c_d`e`", "猫" * 40)


def hostile_run(count: int = 60) -> RunFolder:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 9, 12, 3), dtype=np.uint8)
    contract = Contract(HOSTILE, ImageInput(9, 12, "bgr"), provenance=Provenance("</title><b>set", 3))
    splits = {"train": np.arange(0), "validation": np.arange(0), "test": np.arange(count)}
    return RunFolder(Path("a run; rm -rf"), contract, ArraySource(images), np.arange(count) % len(HOSTILE), splits)


LITERT = ExportConfig(target="litert")


def measured_models(run: RunFolder, limits: Limits) -> list[EvaluatedModel]:
    rng = np.random.default_rng(1)
    right = np.eye(len(HOSTILE))[run.targets] * 2 + rng.random((len(run.targets), len(HOSTILE)))
    worse = right + rng.random(right.shape) * 3
    models: list[EvaluatedModel] = []
    for recipe, raw in ((Recipe.float32(), right), (Recipe.int8(), worse)):
        scores = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
        scored = Predictions(scores, run.targets, interpreter="none 0")
        asked = limits if models else None
        candidate = Candidate(recipe, b"\0\0\0\0TFL3" + recipe.name.encode(), run.contract, notes=("a <note>",))
        reference = models[0].predictions if models else None
        of_versions = np.repeat(scores[:, np.newaxis], VERSIONS, axis=1)
        corrupted = measure_robustness(of_versions, run.targets, run.contract, total=len(scores), seed=0)
        models.append(evaluate_model(candidate, scored, {"median": 0.5, "p95": 0.9}, reference, asked, corrupted))
    return models


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = hostile_run()
    measured = measured_models(run, Limits())
    models = {model.candidate.recipe.file_name: model for model in measured}
    calibration = {"samples": 5, "seed": 3, "split": "train"}
    settings = Settings(LITERT, calibration, ("<i>look</i>",), command="export 'a run; rm -rf'")
    report = make_report(run, settings, models)
    folders = [tmp_path_factory.mktemp("report") for _ in range(2)]
    for folder in folders:
        write_documents(folder, run, measured, report, make_timings(models))
    for name in (*DOCUMENTS, "disagreements/int8.png"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
    return folders[0]


class Page(HTMLParser):
    """The tags and attributes of a page, each element closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.sources: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in ("meta", "img", "br", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_one_file_and_shows_what_comes_from_outside_as_text(written: Path) -> None:
    html = (written / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(html)
    assert page.open == []
    assert not page.tags & {"script", "b", "i", "link", "iframe"}
    report = json.loads((written / "report.json").read_text())
    wrong = sum(sum(row) - row[place] for place, row in enumerate(report["models"][1]["confusion"]))
    with Image.open(written / "disagreements/int8.png") as sheet:
        figures = 1 + 2 * len(CORRUPTIONS)  # the reliability; a curve and an example of each corruption
        differ = len(page.sources) - figures - min(wrong, LARGE_TILES.max_tiles)
        assert 0 < differ <= LARGE_TILES.max_tiles
        assert sheet.width > 100
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "http://" not in html
    assert "https://" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "&lt;i&gt;look" in html
    assert "a &lt;note&gt;" in html
    assert "'a run; rm -rf'" in unescape(html)


def test_nothing_of_the_report_is_cut_and_the_verdict_comes_first(written: Path, tmp_path: Path) -> None:
    html = (written / "report.html").read_text(encoding="utf-8")
    phone, *_ = check_layout([html], tmp_path)
    assert len(phone["cards"]) == 2
    assert phone["cards"][0] < 800, "the first card is on the first screen of a phone"
    assert html.index("Not published") < html.index('class="card"') < html.index("<h2>")


def test_the_pictures_carry_no_date_and_no_version(written: Path) -> None:
    with Image.open(written / "disagreements/int8.png") as image:
        image.load()
        assert "Software" not in image.info
        assert not [key for key in image.info if "date" in key.lower() or "time" in key.lower()]


def test_what_is_timed_is_in_a_file_of_its_own(written: Path) -> None:
    assert json.loads((written / "timings.json").read_text())["int8.tflite"] == {"median": 0.5, "p95": 0.9}
    for name in ("report.json", "report.html", "MODEL_CARD.md"):
        assert "0.9, " not in (written / name).read_text(encoding="utf-8").partition("latency")[2]
        assert "median" not in (written / name).read_text(encoding="utf-8").replace("median of", "")


def test_the_report_names_what_the_network_ends_in(written: Path) -> None:
    outputs = json.loads((written / "report.json").read_text())["outputs"]
    assert outputs == "softmax over 5 classes"
    for name in ("report.html", "MODEL_CARD.md"):
        assert outputs in (written / name).read_text(encoding="utf-8")


def test_the_card_shows_labels_as_text(written: Path) -> None:
    card = (written / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "\\<script\\>" in card
    assert "- a \\<note\\>" in card
    assert "a\\|b\\*c\\_d\\`e\\`" in card
    rows = [line for line in card.splitlines() if line.startswith("| a\\|")]
    assert len(rows) == 1
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 4


def test_the_report_holds_the_figures_of_each_class(written: Path) -> None:
    report = json.loads((written / "report.json").read_text())
    reference, int8 = report["models"]
    assert reference["drop_interval"] is None
    assert int8["worst_class"] in HOSTILE
    assert int8["recall"][int8["worst_class"]] == pytest.approx(
        reference["recall"][int8["worst_class"]] - int8["class_drop"]
    )
    assert int8["drop_interval"][0] < int8["drop"] < int8["drop_interval"][1]
    assert sum(map(sum, int8["confusion"])) == 60
    assert int8["gate"] == "failed: drop"
    lines = list(summary_table(report, {m["file"]: {"median": 1.0} for m in report["models"]}))
    assert lines[2].endswith("failed: drop")


def test_disagreements_and_mistakes_are_bounded_and_the_surest_come_first() -> None:
    run = hostile_run()
    reference, int8 = (model.predictions for model in measured_models(run, Limits()))
    places = disagreements(reference, int8)
    assert (reference.predicted[places] != int8.predicted[places]).all()
    assert len(places) == (reference.predicted != int8.predicted).sum()
    sure = np.maximum(reference.scores, int8.scores).max(axis=1)[places]
    assert (np.diff(sure) <= 0).all()
    wrong = int8.mistakes()
    assert (int8.predicted[wrong] != run.targets[wrong]).all()
    tiles = make_tiles(run, np.arange(60), {"float32": reference})
    assert len(tiles) == LARGE_TILES.max_tiles
    # What is shown of a bgr contract has its colours in their places.
    assert tiles[0].pixels[4, 6].tolist() == np.asarray(run.source.sample(0))[4, 6].tolist()
    with Image.open(io.BytesIO(png_bytes(draw_tiles(tiles[:7], layout=LARGE_TILES)))) as sheet:
        assert sheet.size == (6 * (128 + 24) + 24, 2 * (128 + 3 * 15 + 24) + 12)


def test_a_file_name_that_is_not_utf8_is_drawn(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (12, 9)).save(tmp_path / name, "PNG")
    digest = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    run = replace(hostile_run(), source=FileSource(tmp_path, (name,), (digest,)))
    tiles = make_tiles(run, np.arange(1), {})
    assert tiles[0].lines[0] == "caf\\udce9.png"
    with Image.open(io.BytesIO(png_bytes(draw_tiles(tiles, layout=LARGE_TILES)))) as sheet:
        assert min(sheet.size) > 100


def test_of_a_thousand_classes_the_page_lists_the_most_frequent_confusions() -> None:
    labels = [f"class {n}" for n in range(1000)]
    counts = np.eye(1000, dtype=np.int64)
    counts[3, 7], counts[5, 1] = 4, 9
    assert confusion_matrix(counts, labels, "int8") is None
    table = top_confusions({"float32": np.eye(1000), "int8": counts}, labels, "images")
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["class 5", "class 1", "0", "9"],
        ["class 3", "class 7", "0", "4"],
    ]


def test_bars_are_of_the_largest_changes_and_none_is_empty() -> None:
    bars = change_bars({f"class {n}": (n - 500) / 10 for n in range(1000)} | {"same": 0.0})
    assert len(bars) == 25
    assert bars[0][:2] == ("class 0", "−50.00")
    assert all(bar.percent > 0 for bar in bars)
    assert {bar.style for bar in bars} == {"lost", "won"}
    assert change_bars({"a": 0.0}) == []


def test_the_card_of_a_model_without_name() -> None:
    run = hostile_run(10)
    measured = measured_models(run, Limits(max_drop=1.0))
    models = {model.candidate.recipe.file_name: model for model in measured}
    contract = Contract(HOSTILE, ImageInput(9, 12, "bgr"))
    report = make_report(run, Settings(LITERT, {"samples": 1, "seed": 0}), models)
    card = model_card(report, contract)
    assert card.startswith("# Model card: image classifier\n")
    assert "EXIF" not in card
    stored = Contract(HOSTILE, ImageInput(9, 12, "bgr", filter="tf-nearest", orientation="ignore"))
    assert "filter `tf-nearest` as they are stored, whatever their EXIF orientation, then" in model_card(report, stored)


def test_every_value_that_comes_from_outside_is_escaped_in_both_documents() -> None:
    hostile = '<script>x</script> | `code` \n# heading\r\n[a](b) & "q" \''
    run = hostile_run()
    models = {model.candidate.recipe.file_name: model for model in measured_models(run, Limits())}
    settings = Settings(LITERT, {"samples": 5, "seed": 3, "note": hostile})
    report = make_report(run, settings, models)
    report |= {"dataset": hostile, "warnings": [hostile], "command": hostile, "labels": [hostile, *HOSTILE[1:]]}
    report |= {"versions": {hostile: hostile}, "trained_with": {hostile: hostile}}
    for model in report["models"]:
        model |= {"file": hostile, "notes": [hostile], "gate": hostile, "worst_class": hostile, "interpreter": hostile}
        model |= {"edgetpu": [{"operator": hostile, "layer": hostile, "mapped": False, "reason": hostile}]}
        model |= {"repair": [{"way": hostile, "accuracy": 0.5, "drop": 0.1, "bytes": 1, "passed": True}]}
        model["recall"][hostile] = 0.5
        model |= {"gates": [{"name": hostile, "limit": 0.1, "value": 0.2, "passed": False, "text": hostile}]}
    figure = PageFigure(hostile, b"png")
    sheet = TileSheet(hostile, [PageTile(figure, (hostile,))])
    pictures = ReportPictures([figure], [figure], [figure], {hostile: [figure]}, [figure], [sheet], [sheet])
    html = html_page(report, {hostile: hostile, "labels": [hostile]}, pictures, [hostile])
    page = Page()
    page.feed(html)
    assert page.open == []
    assert not page.tags & {"script", "a"}
    assert html.count("&lt;script&gt;x") == html.count("script&gt;x") > 20
    card = model_card(report, run.contract)
    assert not re.search(r"(?<!\\)[<`](script|code)", card)
    assert not [line for line in card.splitlines() if line.startswith("# heading")]
    rows = [line for line in card.splitlines() if line.startswith("|")]
    cells = [len(re.findall(r"(?<!\\)\|", row)) - 1 for row in rows]
    assert cells == [8] * 4 + [3] * (2 + len(HOSTILE))
    assert escape_markdown("a\n\n- b") == "a - b"


def test_a_value_that_a_template_names_must_be_there() -> None:
    with pytest.raises(jinja2.UndefinedError, match="undefined"):
        render("model_card.md.j2", TEMPLATES)
