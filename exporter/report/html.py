"""`report.html`: one file that needs no network, from the report's figures and pictures."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from trainer.evaluation.comparison import metric_title

from .report import metric_cells

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { border: 1px solid #ccc; padding: .3rem .6rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; height: auto; }
pre { background: #f4f4f4; padding: .8rem; overflow-x: auto; }
.passed { color: #1a7f37; font-weight: bold; }
.failed { color: #b42318; font-weight: bold; }
figure { margin: 1rem 0; } figcaption { color: #555; font-size: .9rem; }
"""
#: Nothing is fetched and nothing runs, whatever a label or a path says.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_CONFIDENCE_COLUMNS = (
    "file",
    "calibration error as converted",
    "temperature",
    "calibration error with it",
    "threshold",
    "images answered",
    "wrong answers given",
    "right among the answered",
)

_LABEL_CONFIDENCE_COLUMNS = (
    *_CONFIDENCE_COLUMNS[:5],
    "images with a label given",
    "absent labels given",
    "right among the given labels",
)


@dataclass(frozen=True)
class Picture:
    """A picture of the report: the section that it belongs to, what it shows, and the PNG."""

    section: str
    caption: str
    png: bytes


def render(report: Mapping[str, Any], contract_json: str, pictures: Sequence[Picture]) -> str:
    """The report as an HTML page.

    Args:
        report: from `make_report`.
        contract_json: the contract as it lies in the model files.
        pictures: in the order to show them, those of one section together.
    """
    return "\n".join(_lines(report, contract_json, pictures)) + "\n"


def _lines(report: Mapping[str, Any], contract_json: str, pictures: Sequence[Picture]) -> Iterator[str]:
    title = escape(f"{report['dataset'] or 'model'}: export report")
    yield f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>'
    yield '<meta name="viewport" content="width=device-width">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
    yield f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>"
    yield _verdict(report)
    if report["warnings"]:
        yield "<h2>Warnings</h2>\n<ul>"
        yield from (f"<li>{escape(line)}</li>" for line in report["warnings"])
        yield "</ul>"
    yield "<h2>Models</h2>"
    yield from _table(report)
    splits = ", ".join(f"{count:,} {name}" for name, count in report["splits"].items())
    what = "Vectors" if "features" in report else "Images"
    yield (
        f"<p>{what}: {escape(splits)}. Every figure is of the test split, which nothing was chosen by, measured "
        "through the classifier and the interpreter that a device uses. <em>Drop</em> is what a model loses against "
        "float32; its interval is of pairs, and McNemar's p says how easily chance alone would give such a "
        f"difference. {_meaning(report['task'])}<em>Calibration error</em> is how far scores, as a device gives them, "
        f"are from the share {_share(report['task'])}. What a call "
        "took on the machine of the export stands in timings.json.</p>"
    )
    yield from _confidence(report)
    notes = [note for model in report["models"] for note in model["notes"]]
    if notes:
        yield "<h2>What was done beside the recipes</h2>\n<ul>"
        yield from (f"<li>{escape(line)}</li>" for line in notes)
        yield "</ul>"
    yield from _repairs(report)
    section = ""
    for picture in pictures:
        if picture.section != section:
            section = picture.section
            yield f"<h2>{escape(section)}</h2>"
        yield _figure(picture)
    yield from _appendix(report, contract_json)
    yield "</body>\n</html>"


def _meaning(task: str) -> str:
    """What the figures of a task are, where they are not the usual ones."""
    if task == "multilabel":
        return (
            "<em>F1</em> is of all labels of all images, each taken to be there from a score of 0.5 on; "
            "<em>agreement</em> and McNemar's p ask for every label of an image. Intervals are of images drawn anew. "
        )
    return "The interval of ROC AUC is of images drawn anew. " if task == "binary" else ""


def _share(task: str) -> str:
    return "of images that have the label" if task == "multilabel" else "of right answers"


def _verdict(report: Mapping[str, Any]) -> str:
    if report["passed"]:
        return '<p class="passed">Published: every gate was passed.</p>'
    failed = [f"{model['file']} {model['gate']}" for model in report["models"] if model["gate"].startswith("failed")]
    return f'<p class="failed">Not published. {escape("; ".join(failed))}.</p>'


def _table(report: Mapping[str, Any]) -> Iterator[str]:
    yield "<table>\n<tr>" + "".join(f"<th>{escape(column)}</th>" for column in _columns(report)) + "</tr>"
    for model in report["models"]:
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in _cells(model)) + "</tr>"
    yield "</table>"


def _columns(report: Mapping[str, Any]) -> Iterator[str]:
    yield from ("file", "bytes")
    for metric in report["models"][0]["metrics"]:
        yield from (f"test {metric_title(metric['name'])}", "95 % interval", "drop (points)", "95 % interval")
    yield from ("McNemar p", "agreement", "class that lost most", "calibration error", "gate")


def _cells(model: Mapping[str, Any]) -> Iterator[str]:
    worst = model["worst_class"]
    yield escape(model["file"])
    yield f"{model['bytes']:,}"
    yield from metric_cells(model, " to ", "")
    yield f"{model['p_value']:.3g}" if model["p_value"] is not None else ""
    yield f"{model['agreement']:.4f}"
    yield escape(f"{worst}: {100 * model['class_drop']:.2f} points") if worst is not None else ""
    yield f"{model['calibration_error']:.4f}"
    yield f'<span class="{"failed" if model["gate"].startswith("failed") else ""}">{escape(model["gate"])}</span>'


def _repairs(report: Mapping[str, Any]) -> Iterator[str]:
    for model in report["models"]:
        if not model["repair"]:
            continue
        yield f"<h2>How {escape(model['file'])} was repaired</h2>\n<table>"
        columns = ("way", f"validation {metric_title(report['metric'])}", "drop (points)", "bytes", "gates")
        yield "<tr>" + "".join(f"<th>{escape(column)}</th>" for column in columns) + "</tr>"
        for tried in model["repair"]:
            passed = "passed" if tried["passed"] else "failed"
            cells = (f"{tried['accuracy']:.4f}", f"{100 * tried['drop']:.2f}", f"{tried['bytes']:,}")
            yield f"<tr><td>{escape(tried['way'])}</td>" + "".join(f"<td>{cell}</td>" for cell in cells)
            yield f'<td class="{passed}">{passed}</td></tr>'
        yield "</table>\n<p>Ways were tried one after the other, and judged on the validation images.</p>"


def _confidence(report: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>How far scores can be trusted</h2>"
    columns = _LABEL_CONFIDENCE_COLUMNS if report["task"] == "multilabel" else _CONFIDENCE_COLUMNS
    yield "<table>\n<tr>" + "".join(f"<th>{escape(column)}</th>" for column in columns) + "</tr>"
    for model in report["models"]:
        kept = model["rejection"]
        cells = (
            escape(model["file"]),
            f"{model['calibration_error_untempered']:.4f}",
            f"{model['temperature']:g}",
            f"{model['calibration_error']:.4f}",
            f"{model['threshold']:g}",
            *(
                "" if share is None else f"{share:.4f}"
                for share in (kept["answered"], kept["false_accept_rate"], kept["accuracy"])
            ),
        )
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    asked = report["false_accept_rate"]
    wish = "no threshold was asked for" if asked is None else f"the threshold was fitted to give {asked:g} of them"
    if report["task"] == "multilabel":
        yield (
            "</table>\n<p>Expected calibration error over every label of the test images; temperature and threshold "
            "were fitted on the validation images, to each file by itself, and lie in its contract. A device names the "
            "labels that reach the threshold, and answers <em>unknown</em> where none does; of the labels that are not "
            f"on an image, <em>absent labels given</em> is the share that it names: "
            f"{'the threshold is a half' if asked is None else wish}.</p>"
        )
        return
    yield (
        "</table>\n<p>Expected calibration error on the test images; temperature and threshold were fitted on the "
        "validation images, to each file by itself, and lie in its contract. Below the threshold a device answers "
        f"<em>unknown</em>; <em>wrong answers given</em> is the share of the wrong ones that reach it: {wish}.</p>"
    )


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    caption = escape(picture.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">\n<figcaption>{caption}</figcaption></figure>'
    )


def _appendix(report: Mapping[str, Any], contract_json: str) -> Iterator[str]:
    yield f"<h2>Calibration and gates</h2>\n<pre>{escape(json.dumps(report['calibration'], indent=2))}</pre>"
    yield f"<pre>{escape(json.dumps(report['limits'], indent=2))}</pre>"
    yield f"<h2>Contract</h2>\n<pre>{escape(contract_json)}</pre>"
    yield "<h2>Versions</h2>\n<table>\n<tr><th>package</th><th>export</th><th>training</th></tr>"
    for name in sorted({*report["versions"], *report["trained_with"]}):
        cells = (name, report["versions"].get(name, ""), report["trained_with"].get(name, ""))
        yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
    yield "</table>\n<h2>Files</h2>\n<table>\n<tr><th>file</th><th>SHA-256</th><th>interpreter</th></tr>"
    for model in report["models"]:
        cells = (model["file"], model["sha256"], model["interpreter"])
        yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
    yield "</table>"
    yield from _edgetpu(report)
    yield f"<h2>To do it again</h2>\n<pre>{escape(report['command'])}</pre>"


def _edgetpu(report: Mapping[str, Any]) -> Iterator[str]:
    for model in report["models"]:
        if not model["edgetpu"]:
            continue
        yield f"<h2>{escape(model['file'])} on a Coral</h2>\n<table>"
        yield "<tr><th>operator</th><th>layer</th><th>runs on</th></tr>"
        for row in model["edgetpu"]:
            where = "Edge TPU" if row["mapped"] else f"processor: {row['reason']}"
            cells = (row["operator"], row["layer"], where)
            yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        yield "</table>"
