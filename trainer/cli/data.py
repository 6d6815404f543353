"""`pocketlens data`: `show` and `save`, and the group that also has `errors` and `correct`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.app import Command, SuggestingGroup, with_options
from runtime.cli.click_options import output_file
from runtime.cli.data_options import SOURCE_OPTIONS, TASK_OPTIONS
from runtime.cli.options import JSON_OPTION, Option
from runtime.cli.output import print_json, print_line, print_wrapped
from runtime.cli.tables import columns
from runtime.errors import UsageError
from runtime.files import shown

from .data_correct import correct
from .data_errors import errors
from .options import (
    GEOMETRY_OPTIONS,
    MAX_SEED,
    OPTION_NAMES,
    complete_dataset,
    html_option,
    write_page,
)
from .sample_index import SampleIndex, index_option
from .settings import load_named

if TYPE_CHECKING:
    from ..data import Dataset
    from ..data.summary import DatasetSummary

#: Lines of a list that are printed; --json has all lines.
_MAX_LINES = 12
#: Members of a group of copies that are printed.
_MAX_COPIES = 6
#: Blanks before what does not fit into a line of a terminal.
_INDENT = 4
_SEED = Option(
    ("--seed",),
    "Seed of the splits and of the samples; without it --index random takes another sample each time.",
    type=int,
    default=0,
    minimum=0,
    maximum=MAX_SEED,
    show_default=True,
)


@click.group("data", cls=SuggestingGroup)
def data() -> None:
    """Examine a data set before a model is trained on it."""


assert isinstance(data, SuggestingGroup)
data.usual = "show"


@click.command(
    "data show",
    cls=Command,
    quiet=True,
    requires=("sklearn", "matplotlib", "jinja2"),
    option_names=OPTION_NAMES,
    example="pocketlens data show digits --plot digits.png\n"
    "pocketlens data show photos/ --json\n"
    "pocketlens data show fashion-mnist --index test:7 --plot seven.png",
)
@click.argument("dataset", metavar="NAME|DIR|CSV", shell_complete=complete_dataset)
@with_options(
    *SOURCE_OPTIONS,
    *TASK_OPTIONS,
    *GEOMETRY_OPTIONS,
    _SEED,
    group="Data",
)
@with_options(
    index_option(
        "Show one image instead, with label, file, size and values: test:12 counts from 0 in a split, 12 in the whole "
        "data set.",
    ),
    output_file("--plot", "Draw a grid of labelled samples, or the one image, as a PNG."),
    html_option("the summary, with samples,"),
    JSON_OPTION,
    group="Output",
)
def show(
    dataset: str,
    seed: int,
    index: SampleIndex | None,
    plot: Path | None,
    html: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Summarize a data set: images of each class and split, sizes, channels, pixels, copies, unreadable files.

    NAME is digits, fashion-mnist or circles, DIR a folder of images, CSV a file of readings, or of images and their
    labels. The splits are those of a training with this seed. Copies are images with equal pixels; near copies are the
    same image saved again or resized. Where many images are alike, only the likeliest pairs are compared, and "at
    least" (near_copies_complete in --json) says so.
    """
    if html is not None and index is not None:
        raise UsageError("--html is a page of the whole data set; leave --index out")
    found = load_named(dataset, **options)
    if index is not None:
        from .data_sample import print_sample

        print_sample(found, index, seed, plot, as_json)
        return
    from ..data.summary import summarize

    summary = summarize(found, seed)
    if plot:
        _plot_samples(found, seed, plot)
    page = write_page(html, lambda: _page(summary, seed))
    if as_json:
        files = {"plot": str(plot) if plot else None, "html": str(page) if page else None}
        print_json(summary.as_dict() | files)
        return
    for line in _lines(summary):
        print_wrapped(line, _INDENT)
    if plot:
        print_line(f"samples: {shown(plot)}")
    if page:
        print_line(f"page: {shown(page)}")


@click.command(
    "data save",
    cls=Command,
    quiet=True,
    requires=("sklearn", "matplotlib"),
    option_names=OPTION_NAMES,
    example="pocketlens data save fashion-mnist --index test:12 shirt.png\n"
    "pocketlens classify --model int8.tflite shirt.png",
)
@click.argument("dataset", metavar="NAME|DIR|CSV", shell_complete=complete_dataset)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@with_options(
    *SOURCE_OPTIONS,
    *TASK_OPTIONS,
    _SEED,
    group="Data",
)
@with_options(
    index_option(
        "The image: test:12 counts from 0 in a split, 12 in the whole data set, random takes any.",
    ),
    JSON_OPTION,
    group="Output",
)
def save(dataset: str, file: Path, seed: int, index: SampleIndex | None, as_json: bool, **options: Any) -> None:
    """Write one image of a data set into FILE, as it is, for `pocketlens classify`.

    FILE ends in .png, or as the image's own file does, which is then copied. A reading of sensors becomes a CSV file
    with a header.
    """
    if index is None:
        raise UsageError("Missing option '--index': name the image, as in --index test:12")
    from .data_sample import save_sample

    save_sample(load_named(dataset, **options), index, seed, file, as_json)


data.add_command(show, "show")
data.add_command(save, "save")
data.add_command(errors, "errors")
data.add_command(correct, "correct")


def _page(summary: DatasetSummary, seed: int) -> str:
    from ..pages.data_page import data_page

    return data_page(summary, seed)


def _plot_samples(found: Dataset, seed: int, plot: Path) -> None:
    import numpy as np

    from ..data.samples import choose_samples, label_of
    from ..plots.image_grid import SMALL_TILES, Tile, save_tiles
    from ..plots.scatter import save_scatter

    if found.input.kind == "features":
        save_scatter(plot, found.pixels[np.arange(len(found.targets))], found.targets, found.labels, found.input.names)
        return
    chosen = choose_samples(found.targets, SMALL_TILES.max_tiles, seed)
    tiles = [Tile(found.pixels[chosen[[i]]][0], (label_of(found, n), f"#{n}")) for i, n in enumerate(chosen.tolist())]
    save_tiles(plot, tiles, f"{found.name}: {len(tiles)} of {len(found.targets):,} images")


def _lines(summary: DatasetSummary) -> list[str]:
    found = summary.dataset
    what = found.input.noun
    head = f"{shown(found.name)}: {len(found.targets):,} {what}, {len(found.labels)} classes"
    lines = [f"{head}, {found.task}", "", *_count_table(summary), ""]
    if summary.refusal:
        lines.append(f"splits: cannot be made: {summary.refusal}")
    return lines + _value_lines(summary) + _copy_lines(summary) + _left_out_lines(summary)


def _value_lines(summary: DatasetSummary) -> list[str]:
    spec, values = summary.dataset.input, summary.values
    rows = list(zip(values.least, values.greatest, values.mean, values.std, strict=True))
    if spec.kind == "features":
        heads = ["feature", "min", "max", "mean", "standard deviation"]
        return [
            *columns(
                [heads, *([name, *(f"{v:.4g}" for v in row)] for name, row in zip(spec.names, rows, strict=True))]
            ),
            "",
        ]
    lines = [
        f"input: {spec.height}x{spec.width} {spec.colour}",
        f"sizes: {_sizes(summary.sizes)}",
        f"channels: {summary.grey:,} grey, {len(summary.dataset.targets) - summary.grey:,} colour",
    ]
    names = ("",) if spec.channels == 1 else ("red ", "green ", "blue ")
    for name, (least, greatest, mean, std) in zip(names, rows, strict=True):
        lines.append(f"{name}pixels: {least:.0f} to {greatest:.0f}, mean {mean:.1f}, standard deviation {std:.1f}")
    return lines


def _count_table(summary: DatasetSummary) -> list[str]:
    labels = [shown(label) for label in summary.dataset.labels]
    rows = [[label, *(f"{found[i]:,}" for found in summary.counts.values())] for i, label in enumerate(labels)]
    every: list[tuple[str, int]] = [(name, summary.splits.count(name)) for name in summary.counts if name != "all"]
    totals = [f"{count:,}" for _, count in (*every, ("all", len(summary.dataset.targets)))]
    return columns([["class", *summary.counts], *rows, ["all", *totals]])


def _sizes(sizes: list[tuple[int, int, int]]) -> str:
    text = ", ".join(f"{height}x{width} ({count:,})" for height, width, count in sizes[:5])
    if len(sizes) <= 5:
        return text
    heights, widths = [h for h, _, _ in sizes], [w for _, w, _ in sizes]
    return (
        f"{len(sizes):,} different ones, heights {min(heights)} to {max(heights)}, "
        f"widths {min(widths)} to {max(widths)}; most often {text}"
    )


def _copy_lines(summary: DatasetSummary) -> list[str]:
    lines = [f"copies: {_describe_groups('group', summary, summary.copies)}"]
    for group in summary.copies[:_MAX_LINES]:
        more = f" and {len(group) - _MAX_COPIES:,} more" if len(group) > _MAX_COPIES else ""
        lines.append(f"  {' = '.join(_item(summary, index) for index in group[:_MAX_COPIES])}{more}")
    pairs = [[pair.first, pair.second] for pair in summary.near]
    text = _describe_groups("pair", summary, pairs)
    if not summary.near_complete:
        text = f"at least {text}" if pairs else "none among the likeliest pairs; there are too many to compare all"
    lines.append(f"near copies: {text}")
    for pair in summary.near[:_MAX_LINES]:
        both = " ~ ".join(_item(summary, index) for index in (pair.first, pair.second))
        lines.append(f"  {both}, {pair.difference:.1f} grey levels apart")
    return lines


def _describe_groups(what: str, summary: DatasetSummary, groups: list[list[int]]) -> str:
    if not groups:
        return "none"
    across = sum(summary.is_across_splits(group) for group in groups)
    mixed = sum(summary.differs_in_label(group) for group in groups)
    return (
        f"{len(groups):,} {what}{'s' * (len(groups) != 1)}, {across:,} across splits, {mixed:,} with different labels"
        + (f"; the first {_MAX_LINES} (--json has all)" if len(groups) > _MAX_LINES else "")
    )


def _item(summary: DatasetSummary, index: int) -> str:
    item = summary.item(index)
    where = item.get("file") or f"#{index}"
    return f"{where} ({', '.join(filter(None, (item['split'], shown(item['label']))))})"


def _left_out_lines(summary: DatasetSummary) -> list[str]:
    left_out = summary.dataset.left_out
    if not left_out:
        return ["left out: none"]
    copied = summary.copied_files
    more = "" if len(left_out) <= _MAX_LINES else f"; the first {_MAX_LINES} (--json has all)"
    lines = [
        f"left out: {len(left_out):,} ({copied:,} copies of other files, {len(left_out) - copied:,} unusable){more}"
    ]
    return lines + [f"  {shown(line)}" for line in left_out[:_MAX_LINES]]
