"""The script to compare with: image classification as TensorFlow Lite's documentation does it, without Pocketlens.

`python documentation.py MODEL IMAGE` is like a user's first script on a device. As a module it gives the same steps, to
be timed in a running process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tflite_runtime.interpreter as tflite
from PIL import Image


def load(model: str) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The interpreter, and its only input and output."""
    interpreter = tflite.Interpreter(model_path=model)
    interpreter.allocate_tensors()
    return interpreter, interpreter.get_input_details()[0], interpreter.get_output_details()[0]


def classifier(model: str) -> Callable[[str], list[tuple[int, float]]]:
    """A function from an image's path to its three best outputs."""
    interpreter, input, output = load(model)
    _, height, width, channels = input["shape"]

    def classify(path: str) -> list[tuple[int, float]]:
        image = Image.open(path).convert("L" if channels == 1 else "RGB").resize((width, height))
        data: Any = np.array(image).reshape(1, height, width, channels)
        if input["dtype"] == np.float32:
            data = (np.float32(data) - 127.5) / 127.5
        interpreter.set_tensor(input["index"], data)
        interpreter.invoke()
        scores = np.squeeze(interpreter.get_tensor(output["index"]))
        return [(int(i), float(scores[i])) for i in scores.argsort()[-3:][::-1]]

    return classify


if __name__ == "__main__":
    run = classifier(sys.argv[1])
    for name in sys.argv[2:]:
        print(name, run(name))
