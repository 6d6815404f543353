"""The parts that a page is made of: tables, figures, tiles, bars and confusion matrices, ready for the templates."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime.files import shown

from ..evaluation.metrics import Metrics
from ..evaluation.predictions import Predictions
from ..plots.figure import png_bytes
from ..plots.metrics import draw_threshold_panels

#: A matrix of more classes is not shown: its most frequent confusions are listed instead.
MAX_MATRIX = 25
#: How many confusions are listed, and how many classes have a bar: those that changed most.
_MAX_CONFUSIONS = 15
_MAX_BARS = 25
#: Pixels of the longer side of an image in a tile.
_TILE_SIDE = 160
#: Characters of a word; a longer one breaks.
_LONG_WORD = 20


class Cell(NamedTuple):
    """A cell of a table: its text, and the name of its style in a page ("" for none)."""

    text: str
    style: str = ""

    @property
    def classes(self) -> str:
        """The style, and "long" where a word is so long that it may break anywhere."""
        long = any(len(word) > _LONG_WORD for word in re.split(r"[\s.]", self.text))
        return " ".join(filter(None, (self.style, "long" if long else "")))


class PageTable(NamedTuple):
    """A table: the headings, and the cells of each row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    @classmethod
    def of_texts(cls, columns: Sequence[str], rows: Iterable[Iterable[str]]) -> PageTable:
        """A table whose cells are plain text."""
        return cls(columns, [[Cell(text) for text in row] for row in rows])


class PageFigure(NamedTuple):
    """A picture of a page: the caption below it, and the PNG."""

    caption: str
    png: bytes

    @property
    def url(self) -> str:
        """The PNG as a data URL."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


class PageTile(NamedTuple):
    """A small image of a page.

    Attributes:
        image: the picture.
        lines: the text below it.
        style: "right" or "wrong" for a frame and a mark, "" for none.
    """

    image: PageFigure
    lines: Sequence[str]
    style: str = ""


class TileSheet(NamedTuple):
    """Tiles under a line of text."""

    caption: str
    tiles: Sequence[PageTile]


class Bar(NamedTuple):
    """A bar to the left or right of zero: its name and text, its length in percent of the longest, its direction."""

    name: str
    text: str
    percent: int
    style: str


class MatrixCell(NamedTuple):
    """A cell of a confusion matrix: the number of samples, and their share of the true class in percent."""

    samples: int
    percent: int


class Matrix(NamedTuple):
    """A confusion matrix: a row for each true label, a column for each predicted label."""

    title: str
    labels: Sequence[str]
    rows: Sequence[Sequence[MatrixCell]]


def tile_image(pixels: npt.NDArray[np.uint8], caption: str = "") -> PageFigure:
    """The picture of a tile, made smaller where it is large.

    Args:
        pixels: uint8, shape (height, width, 1 or 3), red first.
        caption: what it shows, for people who cannot see it.
    """
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))
    image.thumbnail((_TILE_SIDE, _TILE_SIDE), Image.Resampling.LANCZOS)
    return PageFigure(caption, encode_png(np.asarray(image)))


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """An image as a PNG; uint8, shape (height, width) or (height, width, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def threshold_figures(metrics: Metrics, predictions: Predictions) -> list[PageFigure]:
    """The ROC curve, and precision by recall, with the decision threshold marked; none where there are no curves.

    Args:
        predictions: the scores behind the metrics.
    """
    mark = f"the mark is the threshold {metrics.decision:g}, from which on a label is predicted"
    return [
        PageFigure(f"{name[0].upper()}{name[1:]}; {mark}", png_bytes(figure))
        for name, figure in draw_threshold_panels(metrics, predictions).items()
    ]


def confusion_matrix(counts: npt.ArrayLike, labels: Sequence[str], title: str) -> Matrix | None:
    """A confusion matrix for a page; None where it has too many classes to be read.

    Args:
        counts: shape (classes, classes), a row for each true label.
    """
    matrix = np.asarray(counts)
    if len(labels) > MAX_MATRIX:
        return None
    percent = np.rint(100 * matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))).astype(int)
    rows = [
        [MatrixCell(*cell) for cell in zip(*both, strict=True)]
        for both in zip(matrix.tolist(), percent.tolist(), strict=True)
    ]
    return Matrix(title, labels, rows)


def top_confusions(matrices: Mapping[str, npt.ArrayLike], labels: Sequence[str], unit: str) -> PageTable:
    """The most frequent confusions of the last model, with the counts of all.

    Args:
        matrices: counts of shape (classes, classes) by the name of the model.
        unit: what is counted, such as "images".
    """
    counts = [np.array(matrix, np.int64) for matrix in matrices.values()]
    for matrix in counts:
        np.fill_diagonal(matrix, 0)
    # Where the last model has the same count, the sum decides, and then the order of the labels.
    weight = counts[-1] + sum(counts) / (1 + sum(matrix.sum() for matrix in counts))
    order = np.argsort(-weight, axis=None, kind="stable")[:_MAX_CONFUSIONS]
    places = [divmod(int(place), len(labels)) for place in order if weight.flat[place] > 0]
    columns = ("true label", "predicted label", *(f"{unit}, {name}" for name in matrices))
    return PageTable.of_texts(
        columns,
        ((shown(labels[t]), shown(labels[p]), *(f"{matrix[t, p]:,}" for matrix in counts)) for t, p in places),
    )


def change_bars(changes: Mapping[str, float]) -> list[Bar]:
    """Bars of the changes that are not zero, in points: the largest losses first; at most 25, the largest changes."""
    largest = sorted(((name, value) for name, value in changes.items() if value), key=lambda item: -abs(item[1]))
    drawn = sorted(largest[:_MAX_BARS], key=lambda item: item[1])
    longest = max((abs(value) for _, value in drawn), default=1.0)
    return [
        Bar(name, f"{value:+.2f}".replace("-", "−"), round(100 * abs(value) / longest), "lost" if value < 0 else "won")
        for name, value in drawn
    ]


def class_table(
    labels: Sequence[str], matrices: Mapping[str, npt.ArrayLike], unit: str, extra: Mapping[str, Sequence[Any]] = {}
) -> PageTable:
    """Precision, recall and F1 of each class, for each model.

    Args:
        matrices: by the name of the model, counts of shape (classes, classes), or (labels, 2, 2) for multilabel.
        unit: what is counted, such as "images".
        extra: further columns, a value for each class; None where there is none.
    """
    first = np.asarray(next(iter(matrices.values())))
    support = first[:, 1].sum(axis=1) if first.ndim == 3 else first.sum(axis=1)
    prefix = [f"{name}: " if len(matrices) > 1 else "" for name in matrices]
    columns = ["class", unit, *(f"{p}{name}" for p in prefix for name in ("precision", "recall", "F1")), *extra]
    figures = [list(_class_figures(np.asarray(matrix))) for matrix in matrices.values()]
    rows = [
        [
            shown(label),
            f"{support[place]:,}",
            *(_share(value) for each in figures for value in each[place]),
            *(_share(values[place]) for values in extra.values()),
        ]
        for place, label in enumerate(labels)
    ]
    return PageTable.of_texts(columns, rows)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _class_figures(counts: npt.NDArray[Any]) -> Iterator[tuple[float | None, float | None, float]]:
    if counts.ndim == 3:
        right, predicted, true = counts[:, 1, 1], counts[:, :, 1].sum(axis=1), counts[:, 1].sum(axis=1)
    else:
        right, predicted, true = np.diag(counts), counts.sum(axis=0), counts.sum(axis=1)
    for r, p, t in zip(right.tolist(), predicted.tolist(), true.tolist(), strict=True):
        yield r / p if p else None, r / t if t else None, 2 * r / (p + t) if p + t else 0.0


def flatten(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A JSON document as names with dots between, and values as text; for a table of two columns."""
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value_text(value)


def value_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {value_text(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value)) or "none"
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return shown(str(value))
