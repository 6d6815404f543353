"""`pocketlens export`."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.app import STATUS_GATE_FAILED, Command, with_options
from runtime.cli.click_options import option_in
from runtime.cli.options import JSON_OPTION
from runtime.cli.output import print_json, print_line
from runtime.cli.output_options import ByteSize
from runtime.device_profile.format import read_profile
from runtime.native_output import quiet_tensorflow
from runtime.recognition import recognize
from trainer.errors import RunError
from trainer.evaluation.decision_threshold import ThresholdRule

from ..gates import REPAIRABLE, Limits
from ..operator_support import DEFAULT_TARGET, TARGETS
from ..recipe import IO_TYPES, MODES, ExportConfig, Recipe
from .model_options import model_options, parse_model_options

if TYPE_CHECKING:
    from trainer.data.run_folder import RunFolder
    from trainer.evaluation.scoring import ScoringWorker

logger = logging.getLogger(__name__)

_SHARE = click.FloatRange(0, 1)
#: An int8 file that loses more, or answers as float32 on a smaller share of images, is proposed for repair.
_USUAL_DROP, _USUAL_AGREEMENT = 0.01, 0.97
_GATES = (
    *("max_drop", "max_class_drop", "min_agreement", "max_bytes", "max_latency_ms"),
    *("min_accuracy", "min_robustness", "max_memory"),
)
_BY_DROP = ("max_drop", "max_class_drop")
#: Options that `ExportConfig` calls by the same name.
_SETTINGS = (
    "target",
    "edgetpu",
    "rgb_input",
    "c_array",
    "calibration_samples",
    "calibration_seed",
    "false_accept_rate",
    "repair",
    "accept_low_accuracy",
    "outputs",
    "threshold",
    "corruptions",
    "corruption_images",
    "embedding",
)
_FLAGS = ("edgetpu", "rgb_input", "c_array", "embedding", "no_selftest", "accept_low_accuracy", "corruptions")


class _Rule(click.ParamType):  # type: ignore[type-arg]  # no generic in click 8.1
    """How a decision threshold is chosen."""

    name = "F1|recall=R|precision=P|SCORE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ThresholdRule:
        try:
            return value if isinstance(value, ThresholdRule) else ThresholdRule.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(
    cls=Command,
    quiet=True,
    requires=("tensorflow", "sklearn", "matplotlib", "jinja2"),
    option_names={"validation": "--val", "selftest=False": "--no-selftest", "mode": "--mode"},
    example="pocketlens export runs/digits --out models/digits --max-drop 0.01\n"
    "pocketlens export runs/digits --out models/digits --budget pi-zero-2.json \\\n"
    "      --max-latency-ms 20 --max-memory 2MB\n"
    "pocketlens export runs/digits --out models/digits --max-class-drop 0.05\n"
    "pocketlens export own.keras --labels labels.txt --calibration train/ \\\n"
    "      --test test/ --mean 0 --std 255 --out models",
)
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN|MODEL")
@option_in("Output")(
    "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the files."
)
@option_in("Conversion")(
    "--mode",
    "modes",
    type=click.Choice(MODES),
    multiple=True,
    default=("float32", "int8"),
    show_default=True,
    help="Type of a file to make; repeatable. float32 is always made, as the reference.",
)
@option_in("Conversion")(
    "--io",
    type=click.Choice(IO_TYPES),
    default="uint8",
    show_default=True,
    help="Type of the int8 file's input and output tensors.",
)
@option_in("Gate")(
    "--max-drop",
    type=_SHARE,
    default=0.01,
    show_default=True,
    help="The accuracy that a file may lose against float32; 0.01 is one percentage point. For the "
    "task binary it also applies to ROC AUC; for multilabel it applies to mean average precision and F1.",
)
@option_in("Gate")("--max-class-drop", type=_SHARE, help="The recall that any one class may lose. [default: no limit]")
@option_in("Gate")(
    "--min-agreement",
    type=_SHARE,
    help="The share of test images on which a file must agree with float32. [default: no limit]",
)
@option_in("Gate")(
    "--max-bytes",
    type=ByteSize(),
    metavar="SIZE",
    help="The largest size of a file, in bytes or such as 50kB. [default: no limit]",
)
@option_in("Gate")(
    "--max-latency-ms",
    type=click.FloatRange(0, min_open=True),
    help="The longest median time of a call on this machine, in milliseconds; with --budget, the longest predicted "
    "time of an invocation on that device. [default: no limit]",
)
@option_in("Gate")(
    "--budget",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PROFILE",
    help="The profile of the device, from `pocketlens bench --profile` there. The report has the predicted time and "
    "memory of each file on it, and --max-latency-ms and --max-memory are about these. [default: none]",
)
@option_in("Gate")(
    "--max-memory",
    type=ByteSize(),
    metavar="SIZE",
    help="The most predicted memory of a file and its tensors on the device of --budget, such as 500kB. "
    "[default: no limit]",
)
@option_in("Gate")(
    "--min-accuracy",
    type=_SHARE,
    help="The accuracy that a file must have; for multilabel, the mean average precision. [default: no limit]",
)
@option_in("Gate")(
    "--min-robustness",
    type=_SHARE,
    help="The accuracy that a file must have in the mean over all corruptions, which are then measured; for "
    "multilabel, the mean average precision. [default: no limit]",
)
@option_in("Gate")(
    "--accept-low-accuracy",
    is_flag=True,
    help="Publish even if the answers look as if scaling or labels were wrong: no better than the largest class, a "
    "class never answered, or little agreement. The report still warns.",
)
@option_in("Conversion")(
    "--target",
    type=click.Choice(list(TARGETS)),
    default=DEFAULT_TARGET,
    show_default=True,
    help="The interpreter of the device. An operator that it lacks is an error.",
)
@option_in("Output")("--edgetpu", is_flag=True, help="Also report which operators a Coral would run.")
@option_in("Conversion")("--rgb-input", is_flag=True, help="Let a grey model take RGB images: it converts them itself.")
@option_in("Output")(
    "--c-array",
    is_flag=True,
    help="Also write the first file that is not float32 as C++ source: model_data.h and model_data.cc.",
)
@option_in("Output")(
    "--embedding",
    is_flag=True,
    help="Give each file the input of its last dense layer as a second output; `pocketlens teach` needs it.",
)
@option_in("Output")(
    "--no-selftest", is_flag=True, help="Leave out the self-test, which holds a few small training images."
)
@option_in("Output")(
    "--corruptions",
    is_flag=True,
    help="Also measure every file under noise, blur, motion, brightness, contrast, fog, rotation, JPEG and occlusion, "
    "for the report.",
)
@option_in("Output")(
    "--corruption-images",
    type=click.IntRange(min=1),
    help="Measure them on so many test images, drawn in proportion to the classes. "
    "[default: 100 to 1000, by their size]",
)
@option_in("Conversion")(
    "--calibration-samples",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="Number of images of the representative dataset, training images spread evenly over the classes.",
)
@option_in("Conversion")(
    "--calibration-seed",
    "--seed",
    "calibration_seed",
    type=click.IntRange(0, 2**31 - 1),
    help="Seed for the choice of these images. [default: the run's]",
)
@option_in("Conversion")(
    "--false-accept-rate",
    type=_SHARE,
    metavar="R",
    help='The largest share of wrong answers that may be given; a less certain answer becomes "unknown". '
    "[default: always answer]",
)
@option_in("Conversion")(
    "--threshold",
    type=_Rule(),
    metavar="F1|recall=R|SCORE",
    help="Score from which on a label is predicted (binary and multilabel only): F1, recall=0.95, precision=0.9 "
    "choose it on the validation split, 0.3 sets it. The files obey it on a device. [default: 0.5]",
)
@option_in("Conversion")("--repair", is_flag=True, help="If int8 fails a gate, try the known strategies to recover it.")
@model_options
@with_options(JSON_OPTION, group="Output")
def export(run: Path, out: Path, modes: tuple[str, ...], io: str, as_json: bool, **options: Any) -> None:
    """Convert RUN, or a MODEL of your own, to TensorFlow Lite files, and check what that cost.

    RUN is a folder that `pocketlens train` wrote. MODEL is a .keras or .h5 file or a SavedModel folder; it needs
    --labels, --calibration and --test, and --mean and --std unless layers at its input scale the pixels.

    Every file is scored on the whole test split, through the classifier and the interpreter that a device uses. If a
    file fails a gate, nothing is published: the exit status is 3, and the files stay as *.rejected.tflite beside
    report.html and report.json.
    """
    from trainer.evaluation.scoring import ScoringWorker  # here and below: it imports more than the help needs

    if recognize(out).kind == "run":
        raise click.UsageError(f"{out} is a run folder; name another folder with --out, such as models/{out.name}")
    if options["corruption_images"] and not options["corruptions"] and options["min_robustness"] is None:
        raise click.UsageError("--corruption-images is the number of images for --corruptions; add that")
    budget = None if options["budget"] is None else read_profile(options["budget"])
    if budget is None and options["max_memory"] is not None:
        raise click.UsageError("--max-memory is predicted for a device: add its profile with --budget PROFILE")
    with ScoringWorker() as worker:
        material, words = _open(run, options, worker)
        seed = options["calibration_seed"]
        options["calibration_seed"] = material.contract.provenance.seed if seed is None else seed
        config = ExportConfig(
            limits=Limits(*(options[name] for name in _GATES)),
            selftest=not options["no_selftest"],
            budget=budget,
            **{name: options[name] for name in _SETTINGS},
        )
        config.check_task(material.contract.task)
        for name in _BY_DROP:
            if options[name] == 1:
                flag = _flag(name)
                logger.warning("warning: %s 1 lets a file lose all its accuracy; one percentage point is 0.01", flag)
        from ..export import export as export_run

        command = reproduce_command(words, modes, io, options)
        recipes = [Recipe.of(mode, io) for mode in modes]
        exported = export_run(material, out, recipes, config, command=command, worker=worker)
    if as_json:
        print_json({**exported.report, "timings": exported.timings})
    else:
        show_export(exported.report, exported.timings, out)
    for line in exported.failures:
        logger.warning("gate failed: %s", line)
    proposal = propose_repair(exported.report, options)
    if proposal:
        logger.info("%s", proposal)
    if not exported.passed:
        click.get_current_context().exit(STATUS_GATE_FAILED)


def reproduce_command(words: Sequence[str], modes: Sequence[str], io: str, options: Mapping[str, Any]) -> str:
    """The command that makes the same files again; `OUT` stands for the folder.

    Args:
        words: the run, or the model and the options that describe it.
        options: the values of the other options, by parameter.
    """
    command = ["pocketlens", "export", *words, "--out", "OUT"]
    for mode in modes:
        command += ["--mode", mode]
    command += ["--io", io] if "int8" in modes else []
    for name in (*_GATES, "budget", "target"):
        command += [] if options[name] is None else [_flag(name), str(options[name])]
    command += [_flag(name) for name in _FLAGS if options[name]]
    for name in ("calibration_samples", "calibration_seed"):
        command += [_flag(name), str(options[name])]
    rate = options["false_accept_rate"]
    command += [] if rate is None else ["--false-accept-rate", f"{rate:g}"]
    command += ["--threshold", options["threshold"].text] if options["threshold"] else []
    count = options["corruption_images"]
    command += [] if count is None else ["--corruption-images", str(count)]
    command += ["--repair"] if options["repair"] else []
    return shlex.join(command)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def propose_repair(report: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """A line that proposes `--repair`, or "": where int8 fails a gate that a repair can make it pass, or differs much.

    Args:
        report: what `report.json` holds.
        options: the values of the options, by parameter.
    """
    for model in report["models"]:
        if options["repair"] or model["mode"] != "int8":
            continue
        failed = {gate["name"] for gate in model["gates"] if not gate["passed"]}
        if failed:
            return "with --repair, strategies to recover int8 are tried" if failed & REPAIRABLE else ""
        if model["drop"] > _USUAL_DROP:
            return (
                f"int8 loses {100 * model['drop']:.2f} points; --repair --max-drop {_USUAL_DROP} looks for a file that "
                "loses less"
            )
        if options["min_agreement"] is None and model["agreement"] < _USUAL_AGREEMENT:
            return (
                f"int8 answers as float32 on a share of {model['agreement']:.4f}; --repair --min-agreement "
                f"{_USUAL_AGREEMENT} looks for a file that differs less"
            )
    return ""


def _open(path: Path, options: Mapping[str, Any], worker: ScoringWorker) -> tuple[RunFolder, tuple[str, ...]]:
    """What to export, and the words of the command that name it.

    TensorFlow takes seconds to import, so that everything else that can be refused is refused first. The worker starts
    meanwhile.
    """
    from trainer.data.run_folder import read_run, why_no_run

    external = parse_model_options(path, options)
    kind = recognize(path).kind
    if kind in ("tflite", "models", "image", "text"):
        raise RunError(why_no_run(path))
    if external is None and not path.is_file() and not (path / "saved_model.pb").is_file():
        run = read_run(path)
        worker.start()
        quiet_tensorflow()
        return run, (str(path),)
    if external is None and (path.parent / "contract.json").is_file():
        raise click.UsageError(f"{path} is the Keras model of a run folder; export that: {path.parent}")
    if external is None:
        raise click.UsageError(f"{path} is a model: it needs --labels, --calibration, --test, --mean and --std.")
    if not path.exists():
        raise RunError(f"{path}: no such model; name a .keras file or a SavedModel folder")
    worker.start()
    quiet_tensorflow()
    from ..external_model import ImageFolders, external_run

    folders = ImageFolders(external.calibration, external.test, external.val)
    return external_run(path, folders, external.contract), external.words


def show_export(report: dict[str, Any], timings: dict[str, Any], out: Path) -> None:
    """Print the table of an export, its warnings, and where the files are.

    Args:
        report, timings: as in `ExportResult`.
        out: the folder of the files.
    """
    from ..budget.predict import cost_in_words
    from .summary_table import summary_table

    for line in summary_table(report, timings):
        print_line(line)
    for model in report["models"]:
        if "predicted" in model:
            time, memory, where = cost_in_words(model["predicted"])
            print_line(f"{model['file']}: predicted on {where}: {time}, memory {memory}")
    for line in report["warnings"]:
        print_line(f"warning: {line}", error=True)
    print_line(f"{'published in' if report['passed'] else 'rejected, left in'} {out}, with report.html")
