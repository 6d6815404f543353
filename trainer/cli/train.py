"""`pocketlens train`."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.child_process import STATUS_INTERRUPTED
from runtime.cli.app import Command, MissingExtraError, with_options
from runtime.cli.click_options import complete_files, option_in
from runtime.cli.options import JSON_OPTION, Option
from runtime.cli.output import print_json, print_line, print_wrapped

from ..config import SCHEDULES, TrainingConfig
from ..distributed.cluster import DISTRIBUTIONS, is_chief
from ..errors import DatasetError, TrainingError
from .options import OPTION_NAMES, training_options
from .settings import TRAINING_REQUIRES, read_training_options
from .teacher import TeacherOption, check_auto_teacher

if TYPE_CHECKING:
    from ..data import Dataset
    from ..training import TrainedRun

_AUTO = "auto"
#: Ten weeks; who gives more meant seconds, or milliseconds.
_MAX_MINUTES = 100_000


def _learning_rate(text: str) -> float | str:
    try:
        return text if text == _AUTO else float(text)
    except ValueError as error:
        raise ValueError(f"{text!r}, expected a number or {_AUTO}") from error


@click.command(
    cls=Command,
    quiet=True,
    requires=TRAINING_REQUIRES,
    option_names=OPTION_NAMES,
    example="pocketlens train --dataset digits --out runs/digits\n"
    "pocketlens train --dataset digits --preset best --teacher auto --out taught\n"
    "pocketlens train --dataset photos/ --image-size 96 --out runs/photos\n"
    "pocketlens train --dataset photos/ --image-size 96 --out runs/photos --resume",
)
@option_in("Output")(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="The run folder to write.",
    shell_complete=complete_files,
)
@training_options
@with_options(
    Option(
        ("--learning-rate",),
        "Highest learning rate; auto looks for one, as find-lr does. [default: by architecture]",
        type=_learning_rate,
        metavar="RATE|auto",
    ),
    Option(
        ("--schedule",),
        "How the learning rate changes after the warm-up: it falls to 0 along a cosine, stays constant, or falls "
        "exponentially to a hundredth.",
        choices=SCHEDULES,
        default="cosine",
        show_default=True,
    ),
    Option(
        ("--warmup",),
        "Share of the steps in which the learning rate rises from 0. [default: 0.05 with cosine, otherwise 0]",
        type=float,
        metavar="SHARE",
    ),
    group="Training",
)
@with_options(
    Option(
        ("--teacher",),
        "Distillation: learn the scores of a trained model beside the labels; auto trains the next size of cnn first, "
        "into RUN-teacher. [default: none]",
        metavar="RUN|MODEL.keras|auto",
    ),
    Option(
        ("--distillation-temperature",),
        "Divisor of the logits of teacher and student: higher shows more of what the teacher thinks of wrong classes.",
        type=float,
        default=TrainingConfig.distillation_temperature,
        show_default=True,
    ),
    Option(
        ("--distillation-weight",),
        "Share of the teacher's scores in the loss, above 0 and up to 1.",
        type=float,
        default=TrainingConfig.distillation_weight,
        show_default=True,
    ),
    group="Training",
)
@option_in("Training")(
    "--minutes",
    type=click.FloatRange(0, _MAX_MINUTES, min_open=True),
    help="Train for about so many minutes, instead of --epochs. [default: no limit]",
)
@with_options(
    Option(
        ("--patience",),
        "Early stopping: epochs without a better one after which training stops; 0: never. "
        "[default: a third of all, half with efficientnet_lite0, at least 8]",
        type=int,
        minimum=0,
    ),
    Option(
        ("--distribute",),
        "Train on every GPU of this machine (mirrored), or on the machines that $TF_CONFIG names (workers). "
        "[default: one device]",
        choices=DISTRIBUTIONS,
    ),
    Option(
        ("--quantization-aware",),
        "Continue training with int8 simulated, for networks that lose too much accuracy by it. [default: no]",
        type=bool,
        default=False,
    ),
    Option(
        ("--quantization-aware-epochs",),
        "Number of epochs with int8 simulated. [default: a fifth of --epochs]",
        type=int,
        minimum=1,
    ),
    Option(("--resume",), "Continue where the same command was stopped or killed.", type=bool, default=False),
    group="Training",
)
@with_options(
    Option(
        ("--tensorboard",),
        "Write each epoch's figures into this folder, for TensorBoard. Needs pip install 'pocketlens[tensorboard]'. "
        "[default: none]",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
    ),
    Option(("--force",), "Replace the run at --out.", type=bool, default=False),
    JSON_OPTION,
    group="Output",
)
def train(
    out: Path,
    learning_rate: float | str | None,
    minutes: float | None,
    distribute: str | None,
    resume: bool,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a classifier and write a run folder, whole or not at all.

    The epoch with the best validation score is kept. curves.png in RUN shows overfitting: the validation loss rises
    while the training loss falls. For two features, boundary.png shows the decision boundary. With --arch mobilenet_v2
    and other backbones, transfer learning trains a new head first, and fine-tuning then the topmost layers.

    Ctrl-C keeps the best epoch so far. After each epoch a checkpoint is written beside RUN; --resume continues from it
    and gives the same result as an uninterrupted training.

    With --teacher, the network learns the scores of a trained model beside the labels, which makes a small network
    better; both need the same data set, size of images and seed.

    --distribute workers needs the same command on each machine, with its own TF_CONFIG; worker 0 writes RUN.
    """
    from ..fitting.checkpoint import checkpoint_path
    from ..run_writer import reserve_target, write_run

    started = time.perf_counter()
    _check_usage(options, minutes, distribute, resume)
    check_auto_teacher(options["teacher"], minutes, distribute)
    teacher = TeacherOption(options["teacher"], out, resume)
    options["teacher"], resume = teacher.name, teacher.student_resumes
    board, chief = options.pop("tensorboard"), is_chief(distribute)
    if chief:
        click.get_current_context().with_resource(reserve_target(out, force, resume))
    if learning_rate != _AUTO:
        options["learning_rate"] = learning_rate
    config, data, with_epochs = read_training_options(options)
    teacher.prepare(data, config, force)
    from ..distributed.strategy import make_strategy
    from ..training import train as train_model

    strategy = make_strategy(distribute)  # several workers are set up before TensorFlow does anything else
    if minutes is not None:
        config = with_epochs(*_epochs_for_minutes(data, config, minutes, sweeps=learning_rate == _AUTO))
    if learning_rate == _AUTO:  # last, with the settings that --resume begins with
        config = _with_found_rate(data, config)
    run = train_model(
        data,
        config,
        checkpoint_file=checkpoint_path(out),
        resume=resume,
        strategy=strategy,
        callbacks=_tensorboard(board if chief else None),
    )
    if not chief:
        print_line("done; worker 0 writes the run", error=True)
        return
    if run.stopped == "diverged":
        _keep_last_good(run, out)
    if run.stopped == "unreadable":
        _keep_for_resuming(run, out)
    write_run(run, out)
    if run.stopped != "interrupted":
        checkpoint_path(out).unlink(missing_ok=True)
    _print_result(run, out, time.perf_counter() - started, as_json)
    if run.stopped == "interrupted":
        click.get_current_context().exit(STATUS_INTERRUPTED)


def _tensorboard(folder: Path | None) -> list[Any]:
    """The callback for `--tensorboard`, if it was given."""
    if folder is None:
        return []
    import keras

    return [keras.callbacks.TensorBoard(folder, write_graph=False)]


def _with_found_rate(data: Dataset, config: TrainingConfig) -> TrainingConfig:
    from dataclasses import replace

    from ..lr_finder import sweep_learning_rates

    found = sweep_learning_rates(data, config)
    print_line(f"learning rate: {found.suggestion:.2g}, found by a sweep", error=True)
    return replace(config, learning_rate=found.suggestion)


def _check_usage(options: dict[str, Any], minutes: float | None, distribute: str | None, resume: bool) -> None:
    """Refuse options that exclude each other, or need what is not installed."""
    if options["tensorboard"] and importlib.util.find_spec("tensorboard") is None:
        raise MissingExtraError(
            "--tensorboard needs TensorBoard, which is not installed: pip install 'pocketlens[tensorboard]'"
        )
    if options["quantization_aware"] and distribute is not None:
        raise click.UsageError("--quantization-aware trains on one device; leave --distribute out")
    if minutes is None:
        return
    if options["epochs"] is not None:
        raise click.UsageError("--minutes chooses the epochs; leave --epochs or --minutes out")
    if resume:
        wanted = "the --epochs and --steps-per-epoch that the stopped training printed"
        raise click.UsageError(f"--minutes would measure again; --resume needs {wanted}")
    if distribute is not None:
        raise click.UsageError("--minutes measures on one device; give --epochs with --distribute")
    if options["quantization_aware"]:
        raise click.UsageError("--minutes does not count the epochs that --quantization-aware adds; give --epochs")


def _epochs_for_minutes(data: Dataset, config: TrainingConfig, minutes: float, *, sweeps: bool) -> tuple[int, int]:
    """The epochs that fit into the time, and the steps of each."""
    from ..lr_finder import SWEEP_STEPS
    from ..time_budget import fit_to_time

    fitted = fit_to_time(data, config, 60 * minutes, SWEEP_STEPS if sweeps else 0)
    print_line(f"{minutes:g} minutes: --epochs {fitted.epochs} --steps-per-epoch {fitted.steps_per_epoch}", error=True)
    return fitted.epochs, fitted.steps_per_epoch


def _keep_last_good(run: TrainedRun, out: Path) -> None:
    from ..fitting.checkpoint import checkpoint_path
    from ..run_writer import was_interrupted, write_run

    checkpoint_path(out).unlink(missing_ok=True)
    message = (
        f"the loss is not a number any more after epoch {len(run.history)}: training diverged; lower --learning-rate"
    )
    if out.exists() and any(out.iterdir()) and not was_interrupted(out):
        raise TrainingError(f"{message}. The run at {out} stays as it was")
    write_run(run, out)
    raise TrainingError(f"{message}. {out} has the model of epoch {run.best_epoch}, the last good one")


def _keep_for_resuming(run: TrainedRun, out: Path) -> None:
    from ..run_writer import was_interrupted, write_run

    message, done = f"{run.problem}, and", len(run.history)
    if out.exists() and any(out.iterdir()) and not was_interrupted(out):
        raise DatasetError(f"{message} --resume --force goes on after epoch {done}; the run at {out} is untouched")
    write_run(run, out)
    raise DatasetError(
        f"{message} --resume goes on after epoch {done}; {out} has the model of epoch {run.best_epoch}, the best one"
    )


def _print_result(run: TrainedRun, out: Path, seconds: float, as_json: bool) -> None:
    from ..evaluation.learning_curves import describe_learning_curves

    curves = describe_learning_curves(run.history, run.best_epoch, len(run.splits.validation))
    for line in run.warnings:
        print_line(f"warning: {line}", error=True)
    if as_json:
        result = {
            "run": str(out),
            "test_accuracy": run.metrics.accuracy,
            **{f"test_{name}": value for name, value in run.metrics.headline().items()},
            "best_epoch": run.best_epoch,
            "epochs": len(run.history),
            "stopped": run.stopped,
            "learning_rate": run.config.learning_rate,
            "loss": run.config.loss_for(run.dataset.task),
            "parameters": run.model.count_params(),
            "quantization_aware": run.quantization_aware,
            "learning_curves": curves,
            "warnings": list(run.warnings),
            "seconds": round(seconds, 1),
        }
        print_json(result)
        return
    if run.quantization_aware:
        print_wrapped(_describe_quantization_aware(run.quantization_aware))
    print_wrapped(f"learning curves: {curves}")
    ended = {"early": ", stopped early", "interrupted": ", interrupted: --resume goes on"}.get(run.stopped, "")
    print_wrapped(
        f"{out}: test {run.metrics.headline_text()} ({len(run.splits.test)} {run.contract.input.noun}), "
        f"epoch {run.best_epoch} of {len(run.history)} kept{ended}, {run.model.count_params():,} parameters, "
        f"{seconds:.0f} s"
    )


def _describe_quantization_aware(figures: dict[str, Any]) -> str:
    """The effect of the quantization-aware phase, in one line."""
    before, after = figures["validation_int8_before"], figures["validation_int8_after"]
    float32 = f"simulated int8 on the validation split {before:.4f}"
    ended = {"diverged": "; it diverged", "interrupted": "; it was interrupted"}.get(figures["stopped"], "")
    if not figures["kept"]:
        return f"quantization-aware: {float32}, and no epoch of {figures['epochs']} better: not kept{ended}"
    trained = figures["validation_float32_before"]
    return f"quantization-aware: {float32} before, {after:.4f} after (float32 {trained:.4f} before){ended}"
