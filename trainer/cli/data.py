"""`pocketlens data show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.app import Command, with_options
from runtime.cli.options import Option
from runtime.cli.tables import columns
from runtime.errors import UsageError
from runtime.files import shown

from .options import (
    GEOMETRY_OPTIONS,
    JSON_OPTION,
    MAX_SEED,
    OPTION_NAMES,
    SOURCE_OPTIONS,
    TASK_OPTIONS,
    output_file,
)
from .settings import load_named

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..data import Dataset
    from ..data.summary import DatasetSummary

#: Lines of a list that are printed; --json has all of them.
_MOST_LINES = 12
#: Members of a group of copies that are printed.
_MOST_COPIES = 6
#: Pictures up to so many rows and columns have their values printed.
_SMALL = 32


@click.group("data")
def data() -> None:
    """Look at a data set before a model is trained on it."""


@click.command(
    "data show",
    cls=Command,
    requires=("sklearn", "matplotlib"),
    option_names=OPTION_NAMES,
    example="pocketlens data show digits --plot digits.png\n"
    "pocketlens data show photos/ --json\n"
    "pocketlens data show fashion-mnist --index 7 --plot seven.png",
)
@click.argument("dataset", metavar="NAME|DIR|CSV")
@with_options(
    *SOURCE_OPTIONS,
    *TASK_OPTIONS,
    *GEOMETRY_OPTIONS,
    Option(
        ("--seed",),
        "Seed of the splits and of the samples.",
        type=int,
        default=0,
        minimum=0,
        maximum=MAX_SEED,
        show_default=True,
    ),
    Option(("--index",), "Show one image instead: label, file, size, values.", type=int, metavar="N"),
    output_file("--plot", "Draw a grid of labelled samples, or the one image, as a PNG."),
    JSON_OPTION,
)
def show(dataset: str, seed: int, index: int | None, plot: Path | None, as_json: bool, **options: Any) -> None:
    """Tell what a data set holds: images of each class and split, sizes, channels, pixels, copies, unreadable files.

    NAME is digits, fashion-mnist or circles, DIR a folder of images, CSV a file of readings, or of images and their
    labels. The splits are those that a training with this seed makes. Copies are images with equal pixels, near copies
    the same image saved or resized anew; of images that are much alike, as noise is, only the likeliest pairs are
    compared, and "at least" (near_copies_complete in --json) says so.
    """
    found = load_named(dataset, **options)
    if index is not None:
        _show_image(found, index, seed, plot, as_json)
        return
    from ..data.summary import summarize

    seen = summarize(found, seed)
    if plot:
        _plot_samples(found, seed, plot)
    if as_json:
        click.echo(json.dumps(seen.as_dict() | {"plot": str(plot) if plot else None}))
        return
    for line in _lines(seen):
        click.echo(line)
    if plot:
        click.echo(f"samples: {shown(plot)}")


data.add_command(show, "show")


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


def _lines(seen: DatasetSummary) -> list[str]:
    found = seen.dataset
    what = "vectors" if found.input.kind == "features" else "images"
    head = f"{shown(found.name)}: {len(found.targets):,} {what}, {len(found.labels)} classes"
    lines = [f"{head}, {found.task}", "", *_count_table(seen), ""]
    if seen.refusal:
        lines.append(f"splits: cannot be made: {seen.refusal}")
    return lines + _value_lines(seen) + _copy_lines(seen) + _left_out_lines(seen)


def _value_lines(seen: DatasetSummary) -> list[str]:
    spec, values = seen.dataset.input, seen.values
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
        f"sizes: {_sizes(seen.sizes)}",
        f"channels: {seen.grey:,} grey, {len(seen.dataset.targets) - seen.grey:,} colour",
    ]
    names = ("",) if spec.channels == 1 else ("red ", "green ", "blue ")
    for name, (least, greatest, mean, std) in zip(names, rows, strict=True):
        lines.append(f"{name}pixels: {least:.0f} to {greatest:.0f}, mean {mean:.1f}, standard deviation {std:.1f}")
    return lines


def _count_table(seen: DatasetSummary) -> list[str]:
    labels = [shown(label) for label in seen.dataset.labels]
    rows = [[label, *(f"{found[i]:,}" for found in seen.counts.values())] for i, label in enumerate(labels)]
    every: list[tuple[str, int]] = [(name, seen.splits.count(name)) for name in seen.counts if name != "all"]
    totals = [f"{count:,}" for _, count in (*every, ("all", len(seen.dataset.targets)))]
    return columns([["class", *seen.counts], *rows, ["all", *totals]])


def _sizes(sizes: list[tuple[int, int, int]]) -> str:
    told = ", ".join(f"{height}x{width} ({count:,})" for height, width, count in sizes[:5])
    if len(sizes) <= 5:
        return told
    heights, widths = [h for h, _, _ in sizes], [w for _, w, _ in sizes]
    return (
        f"{len(sizes):,} different ones, heights {min(heights)} to {max(heights)}, "
        f"widths {min(widths)} to {max(widths)}; most often {told}"
    )


def _copy_lines(seen: DatasetSummary) -> list[str]:
    lines = [f"copies: {_told('group', seen, seen.copies)}"]
    for group in seen.copies[:_MOST_LINES]:
        more = f" and {len(group) - _MOST_COPIES:,} more" if len(group) > _MOST_COPIES else ""
        lines.append(f"  {' = '.join(_item(seen, index) for index in group[:_MOST_COPIES])}{more}")
    pairs = [[pair.first, pair.second] for pair in seen.near]
    told = _told("pair", seen, pairs)
    if not seen.all_pairs_told:
        told = f"at least {told}" if pairs else "none among the likeliest pairs; there are too many to compare all"
    lines.append(f"near copies: {told}")
    for pair in seen.near[:_MOST_LINES]:
        both = " ~ ".join(_item(seen, index) for index in (pair.first, pair.second))
        lines.append(f"  {both}, {pair.difference:.1f} grey levels apart")
    return lines


def _told(what: str, seen: DatasetSummary, groups: list[list[int]]) -> str:
    if not groups:
        return "none"
    across = sum(seen.is_across_splits(group) for group in groups)
    mixed = sum(seen.differs_in_label(group) for group in groups)
    return (
        f"{len(groups):,} {what}{'s' * (len(groups) != 1)}, {across:,} across splits, {mixed:,} with different labels"
        + (f"; the first {_MOST_LINES} (--json has all)" if len(groups) > _MOST_LINES else "")
    )


def _item(seen: DatasetSummary, index: int) -> str:
    item = seen.item(index)
    where = item.get("file") or f"#{index}"
    return f"{where} ({', '.join(filter(None, (item['split'], shown(item['label']))))})"


def _left_out_lines(seen: DatasetSummary) -> list[str]:
    left_out = seen.dataset.left_out
    if not left_out:
        return ["left out: none"]
    copied = seen.copied_files
    more = "" if len(left_out) <= _MOST_LINES else f"; the first {_MOST_LINES} (--json has all)"
    lines = [
        f"left out: {len(left_out):,} ({copied:,} copies of other files, {len(left_out) - copied:,} unusable){more}"
    ]
    return lines + [f"  {shown(line)}" for line in left_out[:_MOST_LINES]]


def _show_image(found: Dataset, index: int, seed: int, plot: Path | None, as_json: bool) -> None:
    from ..data.samples import describe_sample
    from ..plots.image_grid import save_image

    if not 0 <= index < len(found.targets):
        raise UsageError(f"--index {index}: {found.name} has the images 0 to {len(found.targets) - 1}")
    seen, pixels = describe_sample(found, index, seed)
    if found.input.kind == "features":
        if plot:
            raise UsageError(f"--plot with --index draws an image; {found.name} has vectors: leave --index out")
        _show_vector(seen, dict(zip(found.input.names, pixels.tolist(), strict=True)), as_json)
        return
    if plot:
        save_image(plot, pixels, f"{found.name} #{index}: {seen['label']}")
    if as_json:
        click.echo(json.dumps(seen | {"values": pixels.tolist(), "plot": str(plot) if plot else None}))
        return
    for name, value in seen.items():
        click.echo(f"{name}: {shown(value)}")
    for line in _matrix(pixels):
        click.echo(line)
    if plot:
        click.echo(f"picture: {shown(plot)}")


def _show_vector(seen: dict[str, Any], values: dict[str, float], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(seen | {"values": values}))
        return
    for name, value in (*seen.items(), *values.items()):
        click.echo(f"{name}: {shown(value)}")


def _matrix(pixels: npt.NDArray[np.uint8]) -> list[str]:
    height, width, channels = pixels.shape
    if max(height, width) > _SMALL:
        return ["values: too many to print; --json has them, --plot draws them"]
    lines = []
    for channel, name in enumerate(("",) if channels == 1 else ("red", "green", "blue")):
        lines += [f"{name} values:".strip()]
        lines += ["".join(f"{value:4d}" for value in row) for row in pixels[:, :, channel].tolist()]
    return lines
