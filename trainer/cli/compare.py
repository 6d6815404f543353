"""`pocketlens compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from runtime.cli.app import STATUS_GATE_FAILED, Command, with_options
from runtime.cli.click_options import output_file
from runtime.cli.data_options import SOURCE_OPTIONS
from runtime.cli.options import JSON_OPTION, Option
from runtime.cli.output import print_json, print_line
from runtime.cli.tables import columns
from runtime.errors import UsageError
from runtime.files import shown
from runtime.recognition import recognize

from .measured_model import SPLIT_OPTION
from .options import MAX_SEED, OPTION_NAMES, html_option, typed_options, write_page

_MAX_VALUE_LENGTH = 40
_HEADS = {"mean_average_precision": "mAP", "validation_mean_average_precision": "validation mAP"}


@click.command(
    "compare",
    cls=Command,
    quiet=True,
    requires=("sklearn", "matplotlib", "jinja2"),
    option_names=OPTION_NAMES,
    example="pocketlens train --dataset digits --out runs/scaled\n"
    "pocketlens train --dataset digits --no-normalise --out runs/raw\n"
    "pocketlens compare runs/scaled runs/raw --out compare.png\n"
    "pocketlens compare models/old models/new --dataset pets --html change.html",
)
@click.argument("models", type=click.Path(path_type=Path), metavar="RUN RUN...|OLD NEW", nargs=-1, required=True)
@with_options(
    Option(
        ("--dataset",),
        "Compare two models, OLD and NEW, on the images of this data set. [default: compare runs by their figures]",
        metavar="NAME|DIR|CSV",
    ),
    *SOURCE_OPTIONS,
    SPLIT_OPTION,
    Option(
        ("--seed",),
        "Seed of the splits of --dataset. [default: the new model's own]",
        type=int,
        minimum=0,
        maximum=MAX_SEED,
    ),
    group="Data",
)
@with_options(
    output_file(
        "--out", "Draw as a PNG: the runs' loss and accuracy over the epochs, or the images whose answer changed."
    ),
    html_option("the comparison"),
    Option(
        ("--fail-if-worse",), "Exit with status 3 if the new model is worse (with --dataset).", type=bool, default=False
    ),
    JSON_OPTION,
    group="Output",
)
def compare(
    models: tuple[Path, ...],
    dataset: str | None,
    out: Path | None,
    html: Path | None,
    fail_if_worse: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare runs, or say whether a new model is better than an old one.

    Of runs it shows accuracy, best epoch, parameters, seconds, and the settings that differ. Accuracy is measured on
    each run's own test split, so it cannot be compared where the data sets differ. The validation figures are those of
    the kept epoch: accuracy, also balanced accuracy where it chose the epoch, and mean average precision for several
    labels.

    With --dataset, OLD and NEW answer the same images. Each is a .tflite file, a folder that `pocketlens export` wrote,
    whose int8 file is taken, or a run. One line says whether the new model is better, worse, or not shown to be
    different, by the paired difference with its 95 % interval and McNemar's exact test. A table shows each class,
    with intervals corrected for the number of classes. Where the labels differ, images are compared whose label both
    models have.
    """
    if dataset is not None:
        from .compare_models import compare_named

        worse = compare_named(models, dataset, out, html, as_json, options, compare.in_its_words)
        if worse and fail_if_worse:
            click.get_current_context().exit(STATUS_GATE_FAILED)
        return
    _check_runs(models)
    from ..data.run_folder import read_run
    from ..evaluation.run_comparison import setting_differences, summarize_run
    from ..plots.history import save_comparison

    found = [read_run(run) for run in models]
    rows, differ = [summarize_run(run) for run in found], setting_differences(found)
    if out:
        save_comparison(out, [run.name for run in found], [run.history for run in found])
    page = write_page(html, lambda: _page(rows, differ, [run.history for run in found]))
    if as_json:
        files = {"plot": str(out) if out else None, "html": str(page) if page else None}
        print_json({"runs": rows, "differences": differ, **files})
        return
    for line in (*_figures(rows), "", *_settings([row["run"] for row in rows], differ)):
        print_line(line)
    if out:
        print_line(f"curves: {out}")
    if page:
        print_line(f"page: {shown(page)}")


def _check_runs(models: tuple[Path, ...]) -> None:
    """Refuse what is not for a comparison of runs by their figures."""
    for model in models:
        if recognize(model).kind in ("tflite", "models"):
            raise UsageError(f"{shown(model)}: a model file has no figures with it; name images with --dataset")
    typed = {"data_dir", "merge", "split", "seed", "fail_if_worse"} & typed_options().keys()
    if typed:
        raise UsageError(f"{typed_options()[min(typed)]} is for the images of --dataset; name one, or leave it out")
    if len(models) < 2:
        raise UsageError("one run, expected two or more to compare")


def _page(rows: list[dict[str, Any]], differ: dict[str, list[Any]], histories: list[list[dict[str, float]]]) -> str:
    from ..pages.comparison_page import comparison_page

    return comparison_page(rows, differ, histories)


def _figures(rows: list[dict[str, Any]]) -> list[str]:
    from ..evaluation.metrics import readable

    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in ("dataset", "task")]
    if not any(row["stopped"] for row in rows):
        names.remove("stopped")
    cells = [[_cell(name, row.get(name)) for name in names] for row in rows]
    return columns([[_HEADS.get(name) or readable(name) for name in names], *cells])


def _cell(name: str, value: Any) -> str:
    if value is None or value == "":
        return "-"
    if name == "seconds":
        return f"{value:,.0f}"
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _settings(names: list[str], differ: dict[str, list[Any]]) -> list[str]:
    if not differ:
        return ["settings: the same in all"]
    rows = [[name.replace("_", " "), *map(_value, values)] for name, values in differ.items()]
    return columns([["what differs", *names], *rows])


def _value(value: Any) -> str:
    if isinstance(value, list):
        value = ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        value = "yes" if value else "no"
    text = shown("-" if value is None else str(value))
    return text if len(text) <= _MAX_VALUE_LENGTH else f"{text[: _MAX_VALUE_LENGTH - 1]}…"
