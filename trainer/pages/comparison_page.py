"""The page of `pocketlens compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluation.metrics import readable
from ..plots.figure import png_bytes
from ..plots.history import draw_comparison_panels
from .parts import PageFigure, PageTable, value_text
from .templating import render

#: Figures on a run's card after the first, where it has them.
_ON_CARD = ("roc_auc", "micro_f1", "validation_accuracy", "validation_mean_average_precision", "parameters", "seconds")


def comparison_page(
    rows: Sequence[Mapping[str, Any]],
    differences: Mapping[str, Sequence[Any]],
    histories: Sequence[list[dict[str, float]]],
) -> str:
    """Runs beside each other as an HTML page.

    Args:
        rows: of the runs, from `evaluation.run_comparison.summarize_run`.
        differences: from `evaluation.run_comparison.setting_differences`.
        histories: one row an epoch each, as in `RunFolder.history`.
    """
    names = [str(row["run"]) for row in rows]
    fields = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "run"]
    figures = [[readable(name), *(_text(name, row.get(name)) for row in rows)] for name in fields]
    settings = [[readable(name), *map(value_text, values)] for name, values in differences.items()]
    return render(
        "comparison.html.j2",
        title=f"{len(rows)} runs compared",
        cards=[_card(row) for row in rows],
        data_sets=len({row["dataset"] for row in rows}),
        settings=PageTable.of_texts(["setting", *names], settings),
        figures=PageTable.of_texts(["", *names], figures),
        curves=[
            PageFigure(f"{name.capitalize()} by epoch; solid: validation, dotted: training", png_bytes(figure))
            for name, figure in draw_comparison_panels(names, histories).items()
        ],
    )


def _card(row: Mapping[str, Any]) -> dict[str, Any]:
    first = "mean_average_precision" if "mean_average_precision" in row else "accuracy"
    figures = [(f"test {readable(first)}", _text(first, row.get(first)))]
    figures += [(readable(name), _text(name, row[name])) for name in _ON_CARD if row.get(name) is not None]
    figures.append(("kept epoch", f"{_text('', row['best_epoch'])} of {row['epochs']}"))
    stopped = row.get("stopped") or ""
    return {"name": str(row["run"]), "verdict": stopped, "style": "muted", "figures": figures, "remarks": []}


def _text(name: str, value: Any) -> str:
    if name == "seconds" and value is not None:
        return f"{value:,.0f}"
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else "–" if value in (None, "") else value_text(value)
