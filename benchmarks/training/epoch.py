"""Compares an epoch of our training with Keras's `fit` on arrays, and with the bare training step on one batch.

All three have the same network, images, batch size and optimizer. They run alternately, each time in a new process, and
only the epochs after the first count. `fit` runs as in a user's script, with the default memory settings of the C
library and TensorFlow. The bare step is the fastest that the machine can do. Its memory settings are written here,
independent of the settings under test. With oneDNN, TensorFlow always keeps a pool of memory. Page faults show without
oneDNN, as on processors that lack AVX512-VNNI.

Shares of the step of `cnn small`, one thread, without oneDNN, by TensorFlow's profiler: convolutions 84 % (backward 64,
forward 20), max pooling 8, additions, ReLU and standardized kernels 7, optimizer 1, loss and metrics below 1. The main
thread and Python take 3 % of the processor time, and the input pipeline 1 %.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.timing import run_module
from benchmarks.training.folders import many_pictures
from benchmarks.training.table import Row
from benchmarks.training.waiting import WaitingSampler
from runtime.memory import peak_memory_mb

#: Enough steps that the start of a pass, about 40 ms, matters as little as in a whole epoch.
STEPS, BATCH = 150, 64
#: Epochs of a process. The first one traces the graph and fills the heap, so it does not count.
EPOCHS, WARM_UP = 3, 1
#: A round takes one or two minutes, and more rounds would not change the medians.
MOST_ROUNDS = 3
OURS, FIT, BARE = "ours", "fit", "bare"
#: Our seconds, as a multiple of the bare step's and of `fit`'s.
MOST_TO_BARE, MOST_TO_FIT = 1.08, 1.0
MOST_FAULTS = 100.0
#: Our processor seconds, as a multiple of the bare step's; ours include selecting, augmenting and scaling images.
MOST_PROCESSOR = 1.1
#: The share of our time in which no thread runs, beyond the bare step's, in points. A wait at the end of each pass adds
#: to it, and other work on the machine does not. The idle share of the cores is shown without a bound for that reason.
MOST_WAITING = 5.0
#: Our peak memory, as a multiple of `fit`'s.
MOST_MEMORY = 1.05
#: The peak of memory may grow by this share between two epochs on 600 pictures of 224x224.
EARLY, LATE = 5, 40
MOST_GROWTH = 0.08

_BARE_ENVIRONMENT = {
    "TF_CPU_ALLOCATOR_USE_BFC": "true",
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(2**26),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_ARENA_MAX": "1",
}


_SAMPLER = WaitingSampler()


class Usage(NamedTuple):
    """Time, page faults and samples of waiting of this process, since its start or between two moments."""

    seconds: float
    user: float
    system: float
    faults: float
    samples: float
    waiting: float

    @classmethod
    def now(cls) -> Usage:
        """The usage since the process started."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return cls(time.perf_counter(), used.ru_utime, used.ru_stime, used.ru_minflt, *_SAMPLER.samples)

    def since(self, before: Usage) -> Usage:
        """The usage between `before` and this one."""
        return Usage(*(after - then for after, then in zip(self, before, strict=True)))


def rows(rounds: int) -> Iterator[Row]:
    """Compare seconds, page faults and memory with and without oneDNN, then the growth of memory over epochs."""
    for one_dnn in (False, True):
        results: dict[str, list[dict[str, float]]] = {OURS: [], FIT: [], BARE: []}
        for _ in range(min(rounds, MOST_ROUNDS)):
            for name, runs in results.items():
                runs.append(_run(name, one_dnn))
        medians = {
            name: {figure: statistics.median(run[figure] for run in runs) for figure in runs[0]}
            for name, runs in results.items()
        }
        figures = {f"{name} {figure}": value for name, values in medians.items() for figure, value in values.items()}
        what = f"an epoch of {STEPS} steps, Fashion-MNIST, cnn small, batch {BATCH}, {_with(one_dnn)}"
        ours, fit, bare = (medians[name] for name in results)
        for other, name, most in ((bare, "the bare step", MOST_TO_BARE), (fit, "fit on arrays", MOST_TO_FIT)):
            ratio = ours["s"] / other["s"]
            yield Row(f"{what}: seconds to those of {name}", figures, ratio, f"<= {most}", ratio <= most)
            figures = {}  # shown once
        # A busy machine changes it less than wall-clock time, and it shows time that the kernel spends on memory.
        ratio = (ours["user s"] + ours["system s"]) / (bare["user s"] + bare["system s"])
        name = f"{what}: processor seconds to those of the bare step"
        yield Row(name, {}, ratio, f"<= {MOST_PROCESSOR}", ratio <= MOST_PROCESSOR)
        waiting = ours["waiting %"] - bare["waiting %"]
        name = f"{what}: share of time in which no thread runs, beyond that of the bare step, in points"
        yield Row(name, {}, waiting, f"<= {MOST_WAITING:.0f}", waiting <= MOST_WAITING)
        faults = ours["faults a step"]
        yield Row(f"{what}: minor faults a step", figures, faults, f"<= {MOST_FAULTS:.0f}", faults <= MOST_FAULTS)
        ratio = ours["peak MB"] / fit["peak MB"]
        yield Row(f"{what}: peak memory to that of fit", figures, ratio, f"<= {MOST_MEMORY}", ratio <= MOST_MEMORY)
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
    return run_module(__name__, name, environment=own)


def _figures(epochs: list[Usage]) -> dict[str, float]:
    """The medians of the epochs after the first."""
    counted = epochs[WARM_UP:]
    seconds, user, system, faults, _, _ = (statistics.median(parts) for parts in zip(*counted, strict=True))
    idle = 1 - (user + system) / (seconds * len(os.sched_getaffinity(0)))
    return {
        "s": seconds,
        "images/s": STEPS * BATCH / seconds,
        "user s": user,
        "system s": system,
        "faults a step": faults / STEPS,
        "idle %": 100 * idle,
        "waiting %": 100 * sum(epoch.waiting for epoch in counted) / sum(epoch.samples for epoch in counted),
        "peak MB": peak_memory_mb() or 0.0,
    }


def _ours() -> dict[str, float]:
    """Our training as the command runs it. The validation after each epoch does not count."""
    from trainer.epoch_loop import EpochLoop
    from trainer.fitting.callbacks import EpochLogger

    epochs: list[Usage] = []

    class Measured(EpochLogger):
        """Measures the steps of each epoch."""

        def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            super().on_epoch_begin(epoch, logs)
            self._before = Usage.now()

        def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
            epochs.append(Usage.now().since(self._before))

    session, data = _session()
    loop = EpochLoop(session, data, None)
    loop.log = Measured(STEPS, EPOCHS, [], session.objective.monitor)
    loop.run()
    return _figures(epochs)


def _fit() -> dict[str, float]:
    """Keras's `fit` on scaled arrays that are as long as an epoch."""
    import keras

    epochs: list[Usage] = []
    before: list[Usage] = []

    def end(_epoch: int, _logs: Any) -> None:
        epochs.append(Usage.now().since(before.pop()))

    clock = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: before.append(Usage.now()), on_epoch_end=end
    )
    model, pictures, targets = _compiled()
    model.fit(pictures, targets, batch_size=BATCH, epochs=EPOCHS, verbose=0, callbacks=[clock])
    return _figures(epochs)


def _bare() -> dict[str, float]:
    """Keras's training step, repeated on one batch."""
    import tensorflow as tf

    model, pictures, targets = _compiled()
    batch = tf.constant(pictures[:BATCH]), tf.constant(targets[:BATCH])
    model.train_on_batch(*batch)  # makes the metrics and the optimizer's variables
    step = tf.function(lambda: model.train_step(batch))
    epochs = []
    for _ in range(EPOCHS):
        before = Usage.now()
        for _ in range(STEPS):
            step()
        epochs.append(Usage.now().since(before))
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
    """The network, compiled as our training does it, and scaled images and targets for an epoch."""
    from trainer.fitting.optimizers import scheduled_optimizer

    session, _ = _session()
    optimizer = scheduled_optimizer(session.config, STEPS * EPOCHS)
    session.model.compile(optimizer=optimizer, **session.objective.compile_options)
    chosen = session.splits.train[: STEPS * BATCH]
    pipeline = session.pipeline
    return session.model, pipeline.preprocessor.scale(pipeline.pixels[chosen]), pipeline.targets[chosen]


def _growth() -> dict[str, float]:
    """Peak memory of a training on photos. The network is so small that leaked photos would show."""
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
            peaks.append(peak_memory_mb() or 0.0)

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
    _SAMPLER.start()
    print(json.dumps({OURS: _ours, FIT: _fit, BARE: _bare, "growth": _growth}[name]()))


if __name__ == "__main__":
    main()
