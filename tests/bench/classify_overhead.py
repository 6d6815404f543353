"""What `Classifier.classify` costs over a bare interpreter loop that does the same by hand.

Both run in this process, one call of each in turn, so that whatever else the machine does falls on both alike.
The loop is what a script without Pocketlens would do: decode, convert, resize, set_tensor, invoke, get_tensor,
argmax. Run it with `make bench`.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from runtime import Classifier, read_model
from runtime.interpreter import build
from runtime.quiet import held_stderr

_MAKE_MODELS = """
import sys
from pathlib import Path
from runtime.quiet import quiet_tensorflow
quiet_tensorflow()
import numpy as np
from exporter.conversion import convert
from exporter.recipes import Recipe
from runtime import Contract, ImageInput, seal
from trainer.architectures import build_model
from trainer.spec import TrainingSpec
import keras
keras.utils.set_random_seed(0)
contract = Contract(tuple("abcdefghij"), ImageInput(28, 28, "grey", mean=(73,), std=(90,)))
model = build_model(TrainingSpec(), contract.input.shape, 10)
inputs = keras.Input(batch_shape=(1, 28, 28, 1))
model = keras.Model(inputs, model(inputs))
pixels = np.random.default_rng(0).integers(0, 256, (100, 28, 28, 1), dtype=np.uint8)
for recipe in (Recipe.float32(), Recipe.int8()):
    Path(sys.argv[1], recipe.mode + ".tflite").write_bytes(seal(convert(model, recipe, contract, pixels), contract))
"""


def make_models(folder: Path) -> None:
    """The default network for 28x28 grey pictures, untrained, which costs as much as a trained one."""
    subprocess.run([sys.executable, "-c", _MAKE_MODELS, str(folder)], check=True)


def pictures() -> dict[str, bytes]:
    """Encoded pictures: one of the model's own size, and one that a camera could have taken."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (28, 28), dtype=np.uint8))
    large = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).resize((640, 480))
    found = {}
    for name, image, kind in (("28x28 PNG", small, "PNG"), ("640x480 JPEG", large, "JPEG")):
        buffer = io.BytesIO()
        image.save(buffer, kind)
        found[name] = buffer.getvalue()
    return found


def bare_loop(model: bytes, mean: float, std: float) -> Callable[[bytes], int]:
    """The same by hand, for one encoded picture."""
    interpreter = build(model)
    given, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    quantized = given["dtype"] == np.uint8

    def run(data: bytes) -> int:
        image = Image.open(io.BytesIO(data)).convert("L").resize((28, 28), Image.Resampling.HAMMING)
        pixels = np.asarray(image)[np.newaxis, :, :, np.newaxis]
        if not quantized:
            pixels = (pixels.astype(np.float32) - mean) / std
        interpreter.set_tensor(given["index"], pixels)
        interpreter.invoke()
        return int(interpreter.get_tensor(answer["index"])[0].argmax())

    return run


def interleaved(calls: list[Callable[[], Any]], rounds: int) -> list[float]:
    """Median seconds of each call, taken in turn."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(max(10, rounds // 20)):
        for call in calls:
            call()
    gc.disable()
    for _ in range(rounds):
        for call, seconds in zip(calls, times, strict=True):
            started = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - started)
    gc.enable()
    return [statistics.median(seconds) for seconds in times]


def measure(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """One row a model and picture: microseconds of both, and their ratio."""
    rows = []
    for mode in ("float32", "int8"):
        path = folder / f"{mode}.tflite"
        spec = read_model(path).contract.input
        with held_stderr():
            classifier = Classifier(path)
            bare = bare_loop(path.read_bytes(), spec.mean[0], spec.std[0])
        for name, data in pictures().items():
            loop, ours = interleaved(
                [lambda data=data, bare=bare: bare(data), lambda data=data, c=classifier: c.classify(data)], rounds
            )
            rows.append(
                {
                    "model": mode,
                    "picture": name,
                    "bare_us": round(loop * 1e6, 1),
                    "classify_us": round(ours * 1e6, 1),
                    "ratio": round(ours / loop, 3),
                }
            )
    return rows


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3000, help="calls of each (default: 3000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_models(Path(folder))
        rows = measure(Path(folder), arguments.rounds)
    if not arguments.json:
        print(f"{'model':8}  {'picture':12}  {'bare loop':>10}  {'classify':>10}  {'ratio':>6}")
    for row in rows:
        if arguments.json:
            print(json.dumps(row))
        else:
            print(
                f"{row['model']:8}  {row['picture']:12}  {row['bare_us']:7.1f} us  {row['classify_us']:7.1f} us  "
                f"{row['ratio']:6.3f}"
            )


if __name__ == "__main__":
    main()
