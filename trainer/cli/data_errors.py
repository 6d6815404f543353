"""`pocketlens data errors`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.app import Command, with_options
from runtime.cli.click_options import output_file
from runtime.cli.options import JSON_OPTION, Option
from runtime.cli.output import print_json, print_line, print_wrapped
from runtime.cli.tables import columns
from runtime.files import shown
from runtime.native_output import quiet_tensorflow

from .options import OPTION_NAMES, write_page
from .settings import TRAINING_REQUIRES

if TYPE_CHECKING:
    from ..evaluation.label_suspects import SuspectList

#: Samples that are printed; the CSV file, the page and --json have more.
_MAX_LINES = 12


@click.command(
    "data errors",
    cls=Command,
    quiet=True,
    requires=(*TRAINING_REQUIRES, "jinja2"),
    option_names=OPTION_NAMES,
    example="pocketlens data errors runs/pets --out errors.html --csv errors.csv\n"
    "pocketlens data errors runs/pets --folds 3 --epochs 4 --json",
)
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@with_options(
    Option(
        ("--folds",),
        "Number of parts; a model is trained for each, on the others.",
        type=int,
        default=4,
        minimum=2,
        maximum=20,
        show_default=True,
    ),
    Option(
        ("--epochs",),
        "Epochs of each training. [default: a third of the run's, at least 3]",
        type=int,
        minimum=1,
    ),
    group="Training",
)
@with_options(
    output_file("--out", "Write the images as a page of one file, which needs no network.", suffix=".html"),
    output_file("--csv", "Write the list as a CSV file, with a column for your decision.", suffix=".csv"),
    JSON_OPTION,
    group="Output",
)
def errors(run: Path, folds: int, epochs: int | None, out: Path | None, csv: Path | None, as_json: bool) -> None:
    """List the training images of RUN whose label is most likely wrong, the likeliest first.

    The images are divided into folds, near copies together. A model for each fold is trained with RUN's own settings,
    fewer epochs and no teacher, on the images outside of the fold, and scores those in it. So each image is judged by a
    model that has not learned its label. An image is listed if the model is sure of another label, as measured by how
    sure it is of that label's own images (confident learning). The test split is not touched.

    A finished fold is kept in the cache: the same command goes on where it was stopped, and with other outputs it
    trains nothing again. Several labels for an image are refused, as the method needs one.
    """
    from ..data.run_folder import read_run
    from ..fitting.memory import reuse_memory

    found = read_run(run)
    reuse_memory()
    quiet_tensorflow()
    from ..evaluation.label_suspects import list_suspects
    from ..out_of_fold import score_out_of_fold

    listed = list_suspects(found, score_out_of_fold(found, folds, epochs))
    if doubt := listed.doubt():
        print_line(f"warning: {errors.in_its_words(doubt)}", error=True)
    if csv:
        listed.write_csv(csv)
    page = write_page(out, lambda: _page(listed))
    if as_json:
        files = {"csv": str(csv) if csv else None, "html": str(page) if page else None}
        print_json(listed.as_dict() | files)
        return
    _print(listed)
    if csv:
        print_line(f"list: {shown(csv)}")
    if page:
        print_line(f"page: {shown(page)}")


def _page(listed: SuspectList) -> str:
    from ..pages.errors_page import errors_page

    return errors_page(listed)


def _print(listed: SuspectList) -> None:
    scored, noun = listed.scored, listed.run.contract.input.noun
    print_wrapped(
        f"{listed.run.name}: {len(scored.members):,} {noun} of training and validation examined, in {scored.folds} "
        f"folds of {scored.epochs} epochs; answered as labelled: {listed.agreement:.4f}"
    )
    if scored.skipped:
        print_wrapped(f"not examined: {scored.skipped:,} {noun} of classes with too few of them")
    more = f"; the first {_MAX_LINES}" if len(listed.suspects) > _MAX_LINES else ""
    count = f"{len(listed.suspects):,} labels" if len(listed.suspects) != 1 else "1 label"
    print_wrapped(f"{count} may be wrong, about {listed.errors.estimated:,} by estimate{more}")
    rows = [
        (each.name, shown(each.label), f"{each.label_score:.2f}", shown(each.suggested), f"{each.suggested_score:.2f}")
        for each in listed.suspects[:_MAX_LINES]
    ]
    for line in columns([("", "label", "score", "suggested", "score"), *rows], left=2) if rows else ():
        print_line(line)
