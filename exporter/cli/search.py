"""`pocketlens search`, and `search finish`."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.child_process import STATUS_INTERRUPTED
from runtime.cli.app import STATUS_GATE_FAILED, Command, MissingExtraError, SuggestingGroup, with_options
from runtime.cli.click_options import option_in
from runtime.cli.data_options import CACHE_OPTION, PREPARATION_OPTIONS, SOURCE_OPTIONS, TASK_OPTIONS
from runtime.cli.options import JSON_OPTION, Option
from runtime.cli.output import print_json, print_line
from runtime.cli.output_options import ByteSize
from runtime.cli.progress_bar import is_terminal
from runtime.device_profile.format import read_profile
from runtime.errors import UsageError
from runtime.files import shown
from runtime.input_spec import MAX_INPUT_SIDE
from runtime.native_output import quiet_tensorflow
from runtime.progress import Silent, report_to
from trainer.config import AUGMENTATIONS, parse_augmentation
from trainer.data import DATASET_NAMES

from ..errors import ExportError
from ..gates import Limits
from ..operator_support import DEFAULT_TARGET, TARGETS
from ..search.budget import Budget

if TYPE_CHECKING:
    from ..search.finish import Finished
    from ..search.loop import SearchState
    from ..search.plan import SearchPlan
    from ..search.session import SearchEnd, SearchHost

_log = logging.getLogger(__name__)

_SEARCHED = ("cnn", "dense")
_DEFAULT_TRIALS = 60
_MAX_SEED = 2**31 - 1
_REQUIRES = ("tensorflow", "sklearn", "matplotlib", "jinja2", "optuna", "sqlalchemy")
_OPTION_NAMES = {
    "sides": "--image-size",
    "colours": "--colour",
    "augmentations": "--augment",
    "architectures": "--arch",
}
_DATA_OPTIONS = (
    *SOURCE_OPTIONS,
    *TASK_OPTIONS,
    *PREPARATION_OPTIONS,
    CACHE_OPTION._replace(help="Folder that keeps decoded image files. [default: images in --out]"),
)
_data, _choices, _limit = option_in("Data"), option_in("Choice"), option_in("Budget")
_search, _output = option_in("Search"), option_in("Output")
_STORAGE = _search(
    "--storage",
    metavar="URL",
    help="Database that several machines share: postgresql://USER@HOST/DATABASE. [default: study.db in --out]",
)
_NAME = _search(
    "--name",
    default="search",
    show_default=True,
    metavar="NAME",
    help="Name of the search in the database; several in one need several names.",
)
_THREADS = _search(
    "--threads", type=click.IntRange(min=1), help="Threads of a training. [default: one a processor core]"
)


class _SearchGroup(Command, SuggestingGroup):
    """A command with options of its own that has a command below it."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


@click.group(
    "search",
    cls=_SearchGroup,
    invoke_without_command=True,
    quiet=True,
    requires=_REQUIRES,
    extra="workstation,search",
    option_names=_OPTION_NAMES,
    example="pocketlens search --dataset digits --max-bytes 30kB --trials 40 --out search\n"
    "pocketlens search --dataset photos/ --image-size 96 --max-bytes 100kB \\\n"
    "      --minutes 120 --out search\n"
    "pocketlens search finish search --out models",
)
@_data(
    "--dataset",
    metavar="NAME|DIR|CSV",
    help="Data set: digits, fashion-mnist, circles, a folder with one subfolder for each class, or a CSV file. "
    "[default: none; needed]",
)
@with_options(*_DATA_OPTIONS, group="Data")
@_limit("--max-bytes", type=ByteSize(), metavar="SIZE", help="Largest int8 file, such as 100kB. [default: no limit]")
@_limit(
    "--budget",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PROFILE",
    help="Profile of the device, from `pocketlens bench --profile` there: the time and memory of each network on it "
    "are predicted. [default: none]",
)
@_limit(
    "--max-latency-ms",
    type=click.FloatRange(0, min_open=True),
    help="Longest predicted time of a call on the device of --budget. [default: no limit]",
)
@_limit(
    "--max-memory",
    type=ByteSize(),
    metavar="SIZE",
    help="Most predicted memory of file and tensors on the device of --budget, such as 2MB. [default: no limit]",
)
@_choices(
    "--image-size",
    "sides",
    type=click.IntRange(1, MAX_INPUT_SIDE),
    multiple=True,
    help="Side of the input in pixels to try; repeatable. [default: the data set's own, and two smaller ones]",
)
@_choices(
    "--colour",
    "colours",
    type=click.Choice(("grey", "rgb")),
    multiple=True,
    help="Colour of the input to try; repeatable. [default: the data set's own, and grey beside rgb]",
)
@with_options(
    Option(
        ("--augment",),
        f"Augmentations to try, each by itself: {','.join(AUGMENTATIONS)}, or none. [default: those that keep the "
        "labels, and erase]",
        name="augmentations",
        type=parse_augmentation,
        metavar="KINDS",
    ),
    group="Choice",
)
@_choices(
    "--arch",
    "architectures",
    type=click.Choice(_SEARCHED),
    multiple=True,
    help="Architecture to try; repeatable. [default: cnn for images, dense for features]",
)
@_choices(
    "--no-quantization-aware",
    is_flag=True,
    help="Do not try training with int8 simulated, which takes a fifth more time.",
)
@_choices(
    "--teacher",
    metavar="RUN",
    help="Trained run of the same data set and seed, whose scores some of the trials learn. [default: none]",
)
@_search(
    "--trials",
    type=click.IntRange(min=1),
    help="Networks to train, of all processes together; those beyond the budget do not count. "
    f"[default: {_DEFAULT_TRIALS}, or no limit with --minutes]",
)
@_search("--minutes", type=click.FloatRange(0, min_open=True), help="Stop after so many minutes. [default: no limit]")
@_search(
    "--epochs",
    type=click.IntRange(min=1),
    help="Epochs of a whole training; most trials stop before. [default: those of --preset fast]",
)
@_THREADS
@_search(
    "--seed",
    type=click.IntRange(0, _MAX_SEED),
    default=0,
    show_default=True,
    help="Seed of the splits, the trainings and the choices.",
)
@_search(
    "--target",
    type=click.Choice(list(TARGETS)),
    default=DEFAULT_TARGET,
    show_default=True,
    help="The interpreter of the device.",
)
@_STORAGE
@_NAME
@_search(
    "--on",
    type=click.Choice(("local", "ray")),
    default="local",
    show_default=True,
    help="Where trials run: here, or as tasks on the Ray cluster of this machine or of $RAY_ADDRESS.",
)
@_output(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of the search. [default: none; needed]",
)
@with_options(JSON_OPTION, group="Output")
@click.pass_context
def search(ctx: click.Context, /, dataset: str | None, out: Path | None, as_json: bool, **options: Any) -> None:
    """Look for the network that is most accurate after int8 within a budget.

    Networks of other widths, depths, resolutions and settings are converted before they are trained, and what exceeds
    the budget is left out. The others are trained for a few epochs; the best third goes on, again and again. Their
    int8 files are scored on the validation split. The test split is not looked at before `search finish`, which trains
    the chosen network to its end, exports it and checks it.

    Ctrl-C or a kill loses no more than the epoch at hand: the same command goes on. With --storage, the same command
    on several machines shares the work.
    """
    if ctx.invoked_subcommand is not None:
        return
    if dataset is None or out is None:
        raise UsageError("--dataset and --out are needed; as in: pocketlens search --dataset digits --out search")
    if options["trials"] is None and options["minutes"] is None:
        options["trials"] = _DEFAULT_TRIALS
    profile = None if options["budget"] is None else read_profile(options["budget"])
    if profile is None and (options["max_latency_ms"] is not None or options["max_memory"] is not None):
        raise UsageError("--max-latency-ms and --max-memory are predicted for a device: add its profile with --budget")
    if options["on"] == "ray" and importlib.util.find_spec("ray") is None:
        raise MissingExtraError("`--on ray` needs ray: pip install 'pocketlens[ray]'")
    plan = _read_plan(dataset, out, options)
    from ..search.session import SearchHost, search_networks

    quiet_tensorflow()
    if not is_terminal():
        report_to(Silent)  # a line for each step is enough
    host = SearchHost(out, *(options[name] for name in ("storage", "trials", "minutes", "threads", "on", "name")))
    try:
        ended = search_networks(plan, host, profile, report=_show_state)
    except KeyboardInterrupt:
        print_line("interrupted: the same command goes on", error=True)
        ctx.exit(STATUS_INTERRUPTED)
    _show_result(host, ended, as_json)


@search.command(
    "finish",
    cls=Command,
    short_help="Train a trial to its end, export it, check it.",
    quiet=True,
    requires=_REQUIRES,
    extra="workstation,search",
    example="pocketlens search finish search --out models\n"
    "pocketlens search finish search --trial 7 --epochs 80 --out models",
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@_search("--trial", type=click.IntRange(min=0), help="Number of the trial. [default: the most accurate one]")
@_search("--epochs", type=click.IntRange(min=1), help="Epochs of the training. [default: those of the search]")
@_THREADS
@_STORAGE
@_NAME
@option_in("Gate")(
    "--max-drop",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="The accuracy that int8 may lose against float32 on the test split.",
)
@option_in("Gate")(
    "--min-accuracy", type=click.FloatRange(0, 1), help="The accuracy that int8 must have. [default: no limit]"
)
@_output(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for the files.",
)
@_output("--force", is_flag=True, help="Train anew, in place of an earlier run of this trial.")
@with_options(JSON_OPTION, group="Output")
def finish(folder: Path, trial: int | None, out: Path, as_json: bool, **options: Any) -> None:
    """Train a trial of the search in DIR to its end, export it, and check it on the test split.

    The run folder lies in DIR/runs. The export's gates are those of `pocketlens export`, and the bytes of the search's
    budget are one of them. If a gate fails, the exit status is 3.
    """
    from ..search.plan import SearchPlan
    from ..search.session import DATABASE, PROFILE, SearchHost, open_search

    plan = SearchPlan.read(folder)
    if options["storage"] is None and not (folder / DATABASE).is_file():
        raise ExportError(f"{shown(folder)}: it has no {DATABASE}; give the `storage` of this search")
    profile = read_profile(folder / PROFILE) if (folder / PROFILE).is_file() else None
    quiet_tensorflow()
    from ..recipe import ExportConfig
    from ..search.data import SearchData
    from ..search.finish import FinishSettings, choose_trial, finish_trial

    limits = Limits(max_drop=options["max_drop"], min_accuracy=options["min_accuracy"])
    config = ExportConfig(limits, target=plan.target, budget=profile)
    settings = FinishSettings(config, options["epochs"], options["force"], options["threads"])
    data = SearchData.load(plan.data, plan.seed)
    with open_search(plan, data, SearchHost(folder, options["storage"], name=options["name"]), profile) as study:
        record = choose_trial(study, trial)
        finished = finish_trial(plan, study, record, folder, out, settings)
    _show_finished(finished, out, as_json)
    if not finished.exported.passed:
        click.get_current_context().exit(STATUS_GATE_FAILED)


def _read_plan(dataset: str, out: Path, options: dict[str, Any]) -> SearchPlan:
    from ..search.plan import SearchPlan

    given = {option.parameter: options[option.parameter] for option in _DATA_OPTIONS}
    data = {name: str(value) if isinstance(value, Path) else value for name, value in given.items() if value}
    # `finish` may be called in another folder, and a data set with a name has no images in files.
    data["name"] = _absolute(dataset) if dataset not in DATASET_NAMES else dataset
    if data["name"] != dataset and not dataset.lower().endswith(".csv") and not options["cache"]:
        data["cache"] = str((out / "images").absolute())
    options["teacher"] = options["teacher"] and _absolute(options["teacher"])
    return SearchPlan(
        data,
        Budget(options["max_bytes"], options["max_latency_ms"], options["max_memory"]),
        quantization_aware=not options["no_quantization_aware"],
        **{name: options[name] for name in ("epochs", "sides", "colours", "augmentations", "architectures")},
        **{name: options[name] for name in ("teacher", "seed", "target")},
    )


def _absolute(path: str) -> str:
    return str(Path(path).absolute()) if Path(path).exists() else path


def _show_state(state: SearchState) -> None:
    _log.info("%s", state.describe())


def _show_result(host: SearchHost, ended: SearchEnd, as_json: bool) -> None:
    from ..search.page import PAGE_FILE
    from ..search.session import SearchHost
    from ..search.storage import shown_address

    summary = ended.summary
    if as_json:
        seconds = {name: round(value, 1) for name, value in ended.seconds._asdict().items()}
        print_json({**summary.as_dict(), "out": str(host.folder), "seconds_of_call": seconds})
        return
    if summary.recommended is None:
        print_line("no trial is done yet; the same command goes on")
        return
    print_line(f"take {summary.describe()}")
    storage = "" if host.storage is None else f" --storage {shown_address(host.storage)}"
    name = "" if host.name == SearchHost.name else f" --name {host.name}"
    command = f"pocketlens search finish {shown(host.folder)}{storage}{name} --out models"
    print_line(f"next: {command}; see {shown(host.folder / PAGE_FILE)}")


def _show_finished(finished: Finished, out: Path, as_json: bool) -> None:
    from .export import show_export

    report, timings = finished.exported.report, finished.exported.timings
    if as_json:
        training = {"trial": finished.trial, "run": str(finished.run), **finished.figures}
        print_json({**report, "timings": timings, "search": training})
        return
    print_line(f"trial {finished.trial}: run in {shown(finished.run)}")
    show_export(report, timings, out)
    for line in finished.exported.failures:
        print_line(f"gate failed: {line}", error=True)
