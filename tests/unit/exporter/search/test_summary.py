"""What a search has found: `search.json`, and the page that shows it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from exporter.search.budget import Budget, Cost
from exporter.search.front_plot import draw_fronts
from exporter.search.halving import StepResult
from exporter.search.page import search_page, write_pages
from exporter.search.space import Space
from exporter.search.study import SearchStudy
from exporter.search.summary import (
    SearchSummary,
    StepSummary,
    TrialSummary,
    describe_network,
    describe_training,
    read_summary,
)
from tests.support.browser import check_layout

pytestmark = pytest.mark.fast

SPACE = Space(1797, 27, (8, 16), ("grey", "rgb"), ("shift", "erase"))
BUDGET = Budget(max_bytes=6_000, max_latency_ms=0.9)


def search(study: SearchStudy, trials: int) -> None:
    """Take steps whose results follow from the widths, with a trial that fails and those beyond the budget."""
    chance = random.Random(1)
    while (due := study.next_step(trials)) is not None:
        widths = [due.value[f"width_{place}"] for place in (1, 2, 3)]
        size = 900 + 3 * sum(widths) * due.value["side"]
        cost = Cost(size, size / 9000, 40_000 + size)
        is_new = due.step.trial == due.number and not study.records()[due.number].is_preset
        if is_new and not study.counts()["failed"]:
            study.fail(due, "the process of the training died: <killed>")
        elif not BUDGET.fits(cost):
            study.reject(due, cost, BUDGET.excess(cost))
        else:
            study.note_cost(due, cost, BUDGET.excess(cost))
            right = 1 - 8 / (8 + min(60, sum(widths)) * due.value["learning_rate"] * 400 * due.step.epochs**0.5)
            study.finish(due, StepResult(right - chance.random() / 99, (size + 20.0, size / 9000)), 2.5)


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchSummary]:
    path = tmp_path_factory.mktemp("search") / "study.db"
    settings = {"budget": {"max_bytes": 6_000, "max_latency_ms": 0.9, "max_memory_bytes": None}}
    with pytest.MonkeyPatch.context() as patch:
        first, *_, last = SPACE.presets()  # the last one is beyond the budget
        patch.setattr(Space, "presets", lambda _: [first, last])
        study = SearchStudy(path, "data", SPACE, (9, 27), costs=2, settings=settings, worker="desk")
    with study:
        search(study, 12)
        taken = study.next_step(13)
        assert taken is not None
        yield read_summary(study)


def test_the_summary_has_every_trial_once_and_its_last_state(summary: SearchSummary) -> None:
    counts = summary.counts()
    assert counts["failed"] == counts["running"] == 1
    assert sum(counts.values()) == len(summary.trials) == len({trial.number for trial in summary.trials})
    assert sum(counts[state] for state in ("done", "stopped", "failed")) == 12
    preset = summary.trials[0]
    assert (preset.is_preset, preset.state) == (True, "done")
    assert [step.epochs for step in preset.steps] == [9, 27]
    assert (preset.seconds, preset.steps[0].worker) == (5.0, "desk")
    assert preset.cost is not None
    assert preset.cost.memory_bytes is not None
    assert preset.cost.file_bytes == preset.cost.memory_bytes - 40_000 + 20, "bytes are those of the trained file"
    rejected = next(trial for trial in summary.trials if trial.state == "rejected")
    assert rejected.excess is not None
    assert rejected.excess > 1
    assert rejected.cost is not None
    assert not rejected.steps


def test_the_front_and_the_recommended_trial_are_not_surpassed(summary: SearchSummary) -> None:
    assert summary.recommended in summary.front
    done = [trial for trial in summary.trials if trial.accuracy is not None and trial.cost is not None]
    taken = summary.trial(summary.recommended or 0)
    assert taken.accuracy == max(trial.accuracy or 0 for trial in done)
    sizes = [summary.trial(number).cost for number in summary.front]
    assert sizes == sorted(sizes)  # type: ignore[type-var]
    assert re.match(
        r"trial \d+: accuracy 0\.\d{4} on validation.*, [\d,]+ bytes, .* ms \(predicted\)", summary.describe()
    )


def test_the_metric_has_its_name(summary: SearchSummary) -> None:
    several = summary._replace(metric="mean_average_precision")
    assert re.match(r"trial \d+: mean average precision 0\.\d{4} on validation", several.describe())
    page = search_page(several)
    assert "mean average precision of int8, validation" in page
    assert '<th scope="col">mean average precision</th>' in page
    assert "Accuracy means the mean average precision here." in page
    assert "mean average precision" not in search_page(summary)


def test_choices_that_decide_have_a_share(summary: SearchSummary) -> None:
    assert sum(summary.importance.values()) == pytest.approx(1)
    assert list(summary.importance.values()) == sorted(summary.importance.values(), reverse=True)
    assert {"learning_rate", "width_3", "side"} <= {*summary.importance}


def test_the_files_hold_all_and_need_no_network(summary: SearchSummary, tmp_path: Path) -> None:
    write_pages(summary, tmp_path)
    document = json.loads((tmp_path / "search.json").read_text("utf-8"))
    assert (document["version"], document["metric"]) == (1, "accuracy")
    assert document["front"] == list(summary.front)
    assert document["trials"][0]["choices"]["side"] == 8
    assert document["trials"][0]["cost"]["latency_ms"] == pytest.approx(summary.trials[0].cost.latency_ms)  # type: ignore[union-attr]
    assert document["settings"]["budget"]["max_bytes"] == 6_000
    page = (tmp_path / "search.html").read_text("utf-8")
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    assert "died: &lt;killed&gt;" in page
    assert page.count('<tr id="trial-') == len(summary.trials)
    assert page.count('class="plot"') == 2
    links = re.findall(r'href="#(trial-\d+)"', page)
    assert links
    assert all(f'id="{link}"' in page for link in links)


def test_the_page_fits_every_width(summary: SearchSummary, tmp_path: Path) -> None:
    check_layout([search_page(summary)], tmp_path)


@pytest.mark.parametrize(
    ("accuracies", "ticks"),
    [((1.0, 1.0), ["100 %"]), ((0.96, 0.97), ["97 %", "96 %"]), ((0.94, 0.992), ["95 %", "98 %", "99 %"])],
)
def test_an_axis_has_a_line_also_where_accuracies_are_equal_or_close(
    accuracies: tuple[float, float], ticks: list[str], summary: SearchSummary
) -> None:
    trials = tuple(
        TrialSummary(
            number, "done", False, {}, Cost(1000 + number), 1.0, (StepSummary(27, each, 0.1, 1.0, ""),), 0, None
        )
        for number, each in enumerate(accuracies)
    )
    plot, *_ = draw_fronts(summary._replace(trials=trials, front=(0,), recommended=0))
    assert [tick.text for tick in plot.y_ticks] == ticks


def test_a_search_that_has_just_begun_has_a_page(tmp_path: Path) -> None:
    with SearchStudy(tmp_path / "study.db", "data", SPACE, (27,)) as study:
        assert "no trial is done yet" in search_page(read_summary(study))
        assert study.next_step() is not None
        page = search_page(read_summary(study))
    assert "no limit" in page
    assert "<svg" not in page


def test_values_in_words() -> None:
    value = {
        "architecture": "dense",
        "layers": 2,
        "units_1": 64,
        "units_2": 8,
        "learning_rate": 0.002,
        "batch_size": 32,
    }
    value |= {"teacher": True, "quantization_aware": True, "augment_shift": True, "augment_erase": False}
    assert describe_network(value) == "dense 64-8"
    assert describe_training(value) == "rate 0.002, batch 32, shift, a teacher, quantization-aware"
    assert describe_network({}) == describe_training({}) == ""
