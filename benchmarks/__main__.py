"""Compares the runtime's speed with a script in the style of TensorFlow Lite's documentation: `make bench`.

Pocketlens and the script run alternately in the same run; the figures are medians. The exit status is 1 if a bound is
missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import documentation, materials
from benchmarks.table import Row, line, ratio
from benchmarks.timing import interleaved, peak_memory, process
from benchmarks.workloads import classify_all, script_all
from runtime import Classifier
from runtime.interpreter import installed
from runtime.native_output import held_stderr

#: The target: 560 images a second where the documentation's script reaches 218.
_RATE_BOUND = 560 / 218


def cold_start(device: Path, models: Path, rounds: int) -> Iterator[Row]:
    """Compare whole processes that classify one JPEG, in a device's environment."""
    model, photo = str(models / "small-float32.tflite"), materials.photos()[0]
    script = process([str(device / "bin/python"), documentation.__file__, model, photo])
    ours = process([str(device / "bin/pocketlens"), "classify", "--model", model, photo])
    theirs, mine = interleaved([script, ours], rounds)
    yield ratio("whole process, one JPEG, small", theirs, mine, 0.80)


def warm(models: Path, rounds: int) -> Iterator[Row]:
    """Compare the classification of JPEGs in a running process."""
    photos = materials.photos()
    for what, network, most in (("small float32", "small", 0.42), ("MobileNetV2 0.35 float32", "mobilenet", 0.58)):
        path = str(models / f"{network}-float32.tflite")
        script, ours = documentation.classifier(path), Classifier(path, interpreter="tflite_runtime")
        theirs, mine = interleaved([partial(script, photos[0]), partial(ours.classify, photos[0])], rounds)
        yield ratio(f"640x480 JPEG, {what}", theirs, mine, most)
    path = str(models / "mobilenet-int8.tflite")
    script, ours = documentation.classifier(path), Classifier(path, interpreter="ai_edge_litert")
    theirs, mine = interleaved([lambda: script(photos[0]), lambda: ours.classify(photos[0])], max(20, rounds // 4))
    yield ratio("640x480 JPEG, MobileNetV2 0.35 uint8, ours on ai-edge-litert", theirs, mine, 0.19)


def arrays(models: Path, rounds: int) -> Iterator[Row]:
    """Compare `classify` on an array with set_tensor, invoke, get_tensor and argmax by hand."""
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    for mode in ("float32", "int8"):
        path = models / f"small-{mode}.tflite"
        classifier = Classifier(path, interpreter="tflite_runtime")
        interpreter, input, output = documentation.load(str(path))

        def by_hand(interpreter: Any = interpreter, input: Any = input, output: Any = output) -> int:
            data: npt.NDArray[Any] = pixels[np.newaxis, :, :, np.newaxis]
            if input["dtype"] == np.float32:
                data = (data.astype(np.float32) - 73) / 90
            interpreter.set_tensor(input["index"], data)
            interpreter.invoke()
            return int(interpreter.get_tensor(output["index"])[0].argmax())

        def by_pocketlens(classifier: Classifier = classifier) -> object:
            return classifier.classify(pixels, top=1)

        hand, ours = interleaved([by_hand, by_pocketlens], rounds * 3)
        kept = ours <= max(1.10 * hand, hand + 15e-6)
        bound = "<= 1.1 or 15 us"
        yield Row(f"28x28 array, small {mode}", hand * 1e6, ours * 1e6, "us", ours / hand, bound, kept)


def many(models: Path, rounds: int) -> Iterator[Row]:
    """Classify 500 JPEGs with one worker and two: images a second, and peak memory."""
    model, photos = str(models / "small-float32.tflite"), materials.photos()
    script, one, two = interleaved(
        [
            lambda: script_all(model, photos),
            lambda: classify_all(model, photos, 1),
            lambda: classify_all(model, photos, 2),
        ],
        max(3, rounds // 60),
    )
    count = len(photos)
    what = f"{count} JPEGs, two workers"
    yield Row(f"{what} against one", count / one, count / two, "images/s", one / two, ">= 1.6", one / two >= 1.6)
    faster = script / two
    bound = f">= {_RATE_BOUND:.2f}"
    yield Row(
        f"{what} against the script", count / script, count / two, "images/s", faster, bound, faster >= _RATE_BOUND
    )
    module = "benchmarks.workloads"
    theirs, ours = peak_memory(module, "script", model), peak_memory(module, "ours", model)
    yield Row("peak memory of these runs", theirs, ours, "MB", ours, "<= 60 MB", ours <= 60)


def loading(models: Path, rounds: int) -> Iterator[Row]:
    """Compare loading a model, with its hash and contract, with building the bare interpreter."""
    path = models / "small-int8.tflite"
    bare, ours = interleaved([lambda: documentation.load(str(path)), lambda: Classifier(path)], rounds)
    more = (ours - bare) * 1e3
    what = f"load a model of {path.stat().st_size / 1e3:.0f} kB"
    yield Row(what, bare * 1e3, ours * 1e3, "ms", more, "<= 1 ms more", more <= 1)


def sizes(wheel: Path, device: Path) -> Iterator[Row]:
    """The size of the wheel, and of everything that a device installs with it."""
    site = next(device.glob("lib/python*/site-packages"))
    total = sum(path.stat().st_size for path in site.rglob("*") if path.is_file() and path.suffix != ".pyc") / 1e6
    yield Row("the wheel", None, wheel.stat().st_size / 1e3, "kB", wheel.stat().st_size / 1e3, "", True)
    yield Row("site-packages of a device, without .pyc", None, total, "MB", total, "<= 109 MB", total <= 109)


def measure(rounds: int) -> Iterator[Row]:
    """All the rows."""
    if len(installed()) < 2:
        sys.exit("error: the benchmark needs tflite-runtime and ai-edge-litert: Python 3.10 or 3.11 on Linux")
    models = materials.models()
    wheel = materials.wheel()
    device = materials.device_environment(wheel)
    materials.photos()
    yield from cold_start(device, models, max(5, rounds // 15))
    yield from warm(models, rounds)
    yield from arrays(models, rounds)
    yield from loading(models, rounds)
    yield from many(models, rounds)
    yield from sizes(wheel, device)


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300, help="timed calls of each (default: 300)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    arguments = parser.parse_args()
    kept = True
    if not arguments.json:
        print(f"{'what':62} {'script':>9} {'ours':>9} {'unit':8} {'figure':>7}  bound")
    with held_stderr():  # the interpreters announce themselves
        for row in measure(arguments.rounds):
            kept = kept and row.kept
            print(json.dumps(row._asdict()) if arguments.json else line(row), flush=True)
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
