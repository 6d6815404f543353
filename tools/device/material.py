"""Makes what a device's tests need but cannot make: models, samples, pictures, and this machine's answers to them.

    python -m tools.device.material FOLDER

The answers come from tflite-runtime: every device that uses it must agree with its int8 kernels.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_digits

from runtime import Classifier
from tests.device.answers import MODELS, pixels_of, stored_answers
from tests.support import models as models_for_tests
from tests.support.commands import run_pocketlens, succeed
from tests.support.exports import Samples
from tests.support.external_models import converted, ready_made_name

REFERENCE = "tflite_runtime"
IMAGES = 600
#: The external models that the runtime's tests need: kind, outputs.
EXTERNAL = (("float32", 3), ("float32", 1), ("uint8", 3), ("int8", 3))


def write(folder: Path) -> None:
    """Write all files into a new folder."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch, "run")
        succeed(run_pocketlens("train", "--dataset", "digits", "--out", run))
        succeed(run_pocketlens("export", run, "--out", Path(scratch, "models")))
        for name in ("float32.tflite", "int8.tflite"):
            shutil.copy(Path(scratch, "models", name), folder)
        for io in ("int8", "float32"):
            models_for_tests.export_with_io(run, io, folder / f"io-{io}.tflite")
        Samples.write(run, folder / "samples")
        images = np.load(run / "images.npy")[:IMAGES]
        _write_pictures(folder / "pictures")
        # Before this process imports TensorFlow, since a device does not have it.
        _write_answers(folder, images)
        (folder / "nan.tflite").write_bytes(models_for_tests.with_nan_weights(run))
    models_for_tests.write_task_models(folder)
    models_for_tests.write_embedding_models(folder)
    for kind, outputs in EXTERNAL:
        (folder / ready_made_name(kind, outputs)).write_bytes(converted(kind, outputs=outputs))


def _write_pictures(folder: Path) -> None:
    """Two photographs unchanged, and one in every format and size that the decoders treat differently."""
    folder.mkdir()
    for name in ("china.jpg", "flower.jpg"):
        shutil.copy(_PHOTOGRAPHS / name, folder)
    photograph = Image.open(_PHOTOGRAPHS / "china.jpg")
    large = photograph.resize((2560, 1708))
    large.save(folder / "large.jpg", quality=92)
    large.save(folder / "large-444.jpg", quality=92, subsampling=0)
    large.save(folder / "large-progressive.jpg", quality=80, progressive=True)
    photograph.convert("L").save(folder / "grey.jpg")
    photograph.convert("CMYK").save(folder / "cmyk.jpg")
    photograph.save(folder / "lossy.webp", quality=80)
    photograph.save(folder / "lossless.webp", lossless=True)
    for suffix in ("png", "bmp", "gif", "tiff"):
        photograph.save(folder / f"photograph.{suffix}")
    see_through = photograph.convert("RGBA")
    see_through.putalpha(Image.linear_gradient("L").resize(photograph.size))
    see_through.save(folder / "alpha.png")
    deep = np.asarray(photograph.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "deep.png")


_PHOTOGRAPHS = Path(sys.modules["sklearn.datasets"].__path__[0], "images")


def _write_answers(folder: Path, images: npt.NDArray[Any]) -> None:
    answers = {"images": images, "targets": load_digits().target[: len(images)]}
    for name in MODELS:
        classifier = Classifier(folder / f"{name}.tflite", interpreter=REFERENCE)
        answers[name] = stored_answers(classifier, images)
    np.savez_compressed(folder / "answers.npz", **answers)
    np.savez_compressed(folder / "pixels.npz", **dict(pixels_of(folder / "pictures")))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if "tensorflow" in sys.modules:
        sys.exit("error: TensorFlow is loaded already; the answers would not be a device's")
    write(Path(sys.argv[1]))
