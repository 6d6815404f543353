"""An epoch of our training beside plain Keras `fit` on arrays, and beside the bare step in a loop on one batch.

All three have the same network, images, batch and optimizer. Each runs in processes of its own, in turn, and the epochs
after the first are counted. `fit` runs as in a user's script, with the default memory settings of the C library and
TensorFlow. The bare step is the best that the machine can do. Its memory settings are written here, so that they do not
follow the settings that it judges. With oneDNN TensorFlow keeps a pool of memory anyway. Page faults show without
oneDNN, as on processors that lack AVX512-VNNI.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.timing import ROOT
from benchmarks.training.folders import many_pictures
from benchmarks.training.table import Row

#: Enough that the start of a pass, some 40 ms, counts for as little as in a whole one.
STEPS, BATCH = 150, 64
#: Epochs of a process; the first one traces, and fills the heap.
EPOCHS, WARM_UP = 3, 1
#: More rounds would tell no more: one takes one or two minutes.
MOST_ROUNDS = 3
OURS, FIT, BARE = "ours", "fit", "bare"
#: Seconds, ours to those of the other.
MOST_TO_BARE, MOST_TO_FIT = 1.08, 1.0
MOST_FAULTS = 100.0
#: Of the processor, ours to the bare step's: pictures are drawn, moved and scaled in it.
MOST_PROCESSOR = 1.1
#: Peak memory, ours to that of `fit`.
MOST_MEMORY = 1.05
#: Epochs on 600 pictures of 224x224, between which the peak may grow by a share.
EARLY, LATE = 5, 40
MOST_GROWTH = 0.08

_BARE_ENVIRONMENT = {
    "TF_CPU_ALLOCATOR_USE_BFC": "true",
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(2**26),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_ARENA_MAX": "1",
}


class Taken(NamedTuple):
    """What a process has taken up to now, or between two such moments."""

    seconds: float
    user: float
    system: float
    faults: float

    @classmethod
    def now(cls) -> Taken:
        """Up to now."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return cls(time.perf_counter(), used.ru_utime, used.ru_stime, used.ru_minflt)

    def since(self, before: Taken) -> Taken:
        """From then on."""
        return Taken(*(after - then for after, then in zip(self, before, strict=True)))


def rows(rounds: int) -> Iterator[Row]:
    """With oneDNN and without it: seconds, faults and memory; then growth over epochs."""
    for one_dnn in (False, True):
        found: dict[str, list[dict[str, float]]] = {OURS: [], FIT: [], BARE: []}
        for _ in range(min(rounds, MOST_ROUNDS)):
            for name, runs in found.items():
                runs.append(_run(name, one_dnn))
        middle = {
            name: {figure: statistics.median(run[figure] for run in runs) for figure in runs[0]}
            for name, runs in found.items()
        }
        told = {f"{name} {figure}": value for name, figures in middle.items() for figure, value in figures.items()}
        what = f"an epoch of {STEPS} steps, Fashion-MNIST, cnn small, batch {BATCH}, {_with(one_dnn)}"
        ours, fit, bare = (middle[name] for name in found)
        for other, name, most in ((bare, "the bare step", MOST_TO_BARE), (fit, "fit on arrays", MOST_TO_FIT)):
            ratio = ours["s"] / other["s"]
            yield Row(f"{what}: seconds to those of {name}", told, ratio, f"<= {most}", ratio <= most)
            told = {}  # once
        # The same on a machine that does other things too, and where a kernel busy with memory shows.
        ratio = (ours["user s"] + ours["system s"]) / (bare["user s"] + bare["system s"])
        name = f"{what}: processor seconds to those of the bare step"
        yield Row(name, {}, ratio, f"<= {MOST_PROCESSOR}", ratio <= MOST_PROCESSOR)
        faults = ours["faults a step"]
        yield Row(f"{what}: minor faults a step", told, faults, f"<= {MOST_FAULTS:.0f}", faults <= MOST_FAULTS)
        ratio = ours["peak MB"] / fit["peak MB"]
        yield Row(f"{what}: peak memory to that of fit", told, ratio, f"<= {MOST_MEMORY}", ratio <= MOST_MEMORY)
    for one_dnn in (False, True):
        peaks = _run("growth", one_dnn)
        early, late = (peaks[f"epoch {epoch} MB"] for epoch in (EARLY, LATE))
        growth = late / early - 1
        what = f"growth of the peak from epoch {EARLY} to {LATE}, 600 pictures of 224x224, {_with(one_dnn)}"
        yield Row(what, peaks, growth, f"<= {MOST_GROWTH}", growth <= MOST_GROWTH)


def _with(one_dnn: bool) -> str:
    return "with oneDNN" if one_dnn else "without oneDNN"


def _run(name: str, one_dnn: bool) -> dict[str, float]:
    """The figures of one contestant, in a process of its own that inherits no memory settings."""
    settings = ("MALLOC_", "GLIBC_TUNABLES", "TF_CPU_")
    own = {variable: value for variable, value in os.environ.items() if not variable.startswith(settings)}
    own |= {"TF_ENABLE_ONEDNN_OPTS": str(int(one_dnn))} | (_BARE_ENVIRONMENT if name == BARE else {})
    command = [sys.executable, "-m", __name__, name]
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: {name}: {(done.stderr.strip().splitlines() or ['no word of it'])[-1]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _peak() -> float:
    """MB; not ru_maxrss, which a new program takes over from the one that started it."""
    with open("/proc/self/status") as status:  # noqa: PTH123 - not a file
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6


def _figures(epochs: list[Taken]) -> dict[str, float]:
    """The medians of the epochs after the first."""
    counted = epochs[WARM_UP:]
    seconds, user, system, faults = (statistics.median(parts) for parts in zip(*counted, strict=True))
    idle = 1 - (user + system) / (seconds * len(os.sched_getaffinity(0)))
    return {
        "s": seconds,
        "images/s": STEPS * BATCH / seconds,
        "user s": user,
        "system s": system,
        "faults a step": faults / STEPS,
        "idle %": 100 * idle,
        "peak MB": _peak(),
    }


def _ours() -> dict[str, float]:
    """The training as the command runs it, without the validation after each epoch."""
    from trainer.epoch_loop import EpochLoop
    from trainer.fitting.callbacks import EpochLogger

    epochs: list[Taken] = []

    class Measured(EpochLogger):
        """Measures the steps of each epoch."""

        def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            super().on_epoch_begin(epoch, logs)
            self._before = Taken.now()

        def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
            epochs.append(Taken.now().since(self._before))

    session, data = _session()
    loop = EpochLoop(session, data, None)
    loop.log = Measured(STEPS, EPOCHS, [], session.objective.monitor)
    loop.run()
    return _figures(epochs)


def _fit() -> dict[str, float]:
    """`fit` on arrays that are scaled already, as many as the steps take."""
    import keras

    epochs: list[Taken] = []
    before: list[Taken] = []

    def end(_epoch: int, _logs: Any) -> None:
        epochs.append(Taken.now().since(before.pop()))

    clock = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: before.append(Taken.now()), on_epoch_end=end
    )
    model, pictures, targets = _compiled()
    model.fit(pictures, targets, batch_size=BATCH, epochs=EPOCHS, verbose=0, callbacks=[clock])
    return _figures(epochs)


def _bare() -> dict[str, float]:
    """Keras's step on one batch, with nothing around it."""
    import tensorflow as tf

    model, pictures, targets = _compiled()
    batch = tf.constant(pictures[:BATCH]), tf.constant(targets[:BATCH])
    model.train_on_batch(*batch)  # makes the metrics and the optimizer's variables
    step = tf.function(lambda: model.train_step(batch))
    epochs = []
    for _ in range(EPOCHS):
        before = Taken.now()
        for _ in range(STEPS):
            step()
        epochs.append(Taken.now().since(before))
    return _figures(epochs)


def _session() -> tuple[Any, Any]:
    """The session of a short training on Fashion-MNIST, and its data set."""
    from trainer.data import Geometry, load_dataset
    from trainer.presets import complete_config
    from trainer.session import prepare_session

    data = load_dataset("fashion-mnist", Geometry())
    settings = {"architecture": "cnn", "size": "small", "batch_size": BATCH, "epochs": EPOCHS, "steps_per_epoch": STEPS}
    return prepare_session(data, complete_config(settings, "fast", len(data.targets), data.augmentation)), data


def _compiled() -> tuple[Any, Any, Any]:
    """The network as the training compiles it, and scaled images and targets for an epoch."""
    from trainer.fitting.optimizers import scheduled_optimizer

    session, _ = _session()
    optimizer = scheduled_optimizer(session.config, STEPS * EPOCHS)
    session.model.compile(optimizer=optimizer, **session.objective.compile_options)
    chosen = session.splits.train[: STEPS * BATCH]
    pipeline = session.pipeline
    return session.model, pipeline.preprocessor.scale(pipeline.pixels[chosen]), pipeline.targets[chosen]


def _growth() -> dict[str, float]:
    """Peaks of a training on photos, with a network so small that the photos would show."""
    from trainer.config import AUGMENTATIONS, TrainingConfig
    from trainer.data import Geometry, load_dataset
    from trainer.epoch_loop import EpochLoop
    from trainer.fitting.callbacks import EpochLogger
    from trainer.session import prepare_session

    peaks: list[float] = []

    class Measured(EpochLogger):
        """Measures the peak of memory after each epoch."""

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            super().on_epoch_end(epoch, logs)
            peaks.append(_peak())

    config = TrainingConfig("dense", units=(4,), epochs=LATE, batch_size=32, augmentation=AUGMENTATIONS)
    data = load_dataset(str(many_pictures(600)), Geometry((224, 224), "rgb"), cache="temporary")
    session = prepare_session(data, config)
    loop = EpochLoop(session, data, None)
    loop.log = Measured(len(session.passes), LATE, [], session.objective.monitor)
    loop.run()
    return {f"epoch {epoch} MB": peaks[epoch - 1] for epoch in (EARLY, LATE)}


def main() -> None:
    """Measure one contestant, and print its figures as one JSON object."""
    from runtime.native_output import quiet_tensorflow
    from trainer.fitting.memory import reuse_memory

    name = sys.argv[1]
    if name in (OURS, "growth"):
        reuse_memory()  # as the command does
    quiet_tensorflow()
    print(json.dumps({OURS: _ours, FIT: _fit, BARE: _bare, "growth": _growth}[name]()))


if __name__ == "__main__":
    main()
