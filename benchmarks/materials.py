"""The benchmark's material: two networks, pictures, and an environment like a device's; kept in build/bench."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.timing import ROOT

HOME = ROOT / "build" / "bench"
PHOTOS = 500
PHOTO_SIZE = (640, 480)

_MAKE_MODELS = """
import sys
from pathlib import Path
from runtime.native_output import quiet_tensorflow
quiet_tensorflow()
import keras
import numpy as np
from exporter.converter import convert
from exporter.recipe import Recipe
from runtime import Contract, ImageInput, seal
from trainer.models.factory import build_model
from trainer.config import TrainingConfig

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
small = Contract(tuple("abcdefghij"), ImageInput(28, 28, "grey", mean=(73,), std=(90,)))
large = Contract(tuple(map(str, range(1000))), ImageInput(224, 224, "rgb", mean=(128,) * 3, std=(127.5,) * 3))
networks = {
    "small": (build_model(TrainingConfig(), small.input.shape, 10), small),
    "mobilenet": (keras.applications.MobileNetV2((224, 224, 3), alpha=0.35, weights=None), large),
}
for name, (body, contract) in networks.items():
    inputs = keras.Input(batch_shape=(1, *contract.input.shape))
    model = keras.Model(inputs, body(inputs))
    pixels = rng.integers(0, 256, (20, *contract.input.shape), dtype=np.uint8)
    for mode, recipe in (("float32", Recipe.float32()), ("int8", Recipe.int8())):
        file = seal(convert(model, recipe, contract, pixels), contract)
        Path(sys.argv[1], f"{name}-{mode}.tflite").write_bytes(file)
"""


def models() -> Path:
    """A folder with `small` (28x28 grey) and `mobilenet` (V2 0.35, 224x224 colour), float32 and int8.

    Their weights are random, which changes nothing in the time that an invocation takes.
    """
    folder = HOME / "models"
    if not (folder / "mobilenet-int8.tflite").exists():
        folder.mkdir(parents=True, exist_ok=True)
        print("converting the networks", file=sys.stderr)
        subprocess.run([sys.executable, "-c", _MAKE_MODELS, str(folder)], check=True, cwd=ROOT, stderr=subprocess.PIPE)
    return folder


def photos() -> list[str]:
    """The paths of 500 JPEGs of 640x480, as detailed as photographs (about 50 kB each), drawn from fixed seeds."""
    folder = HOME / "photos"
    paths = [folder / f"{number:03}.jpg" for number in range(PHOTOS)]
    if not paths[-1].exists():
        folder.mkdir(parents=True, exist_ok=True)
        for number, path in enumerate(paths):
            path.write_bytes(_photo(number))
    return [str(path) for path in paths]


def _photo(seed: int) -> bytes:
    """A JPEG of blurred shapes of several sizes, with a sensor's noise."""
    rng = np.random.default_rng(seed)
    width, height = PHOTO_SIZE
    picture = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((4, 120), (24, 70), (120, 30)):
        noise = Image.fromarray(rng.integers(0, 256, (cells * 3 // 4, cells, 3), dtype=np.uint8))
        picture += np.asarray(noise.resize(PHOTO_SIZE, Image.Resampling.BICUBIC), np.float32) * (weight / 255)
    picture += rng.normal(0, 4, picture.shape)
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.6))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def wheel() -> Path:
    """Build the wheel and return its path."""
    subprocess.run(["make", "--no-print-directory", "-s", "wheel"], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return max((ROOT / "dist").glob("pocketlens-*.whl"), key=lambda path: path.stat().st_mtime)


def device_environment(built: Path) -> Path:
    """The folder of a virtual environment that holds only the wheel and its dependencies."""
    folder = HOME / "device"
    python = folder / "bin" / "python"
    if not python.exists():
        print("making a device's environment", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    constraints = ["-c", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, *constraints, str(built)], check=True, stderr=subprocess.DEVNULL)
    subprocess.run([*pip, "--force-reinstall", "--no-deps", str(built)], check=True, stderr=subprocess.DEVNULL)
    return folder
