"""The filters that give TensorFlow's pixels. The numbers were computed by TensorFlow 2.21.

`tests/unit/trainer/data/test_keras_pixels.py` compares them with TensorFlow itself.
"""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime import Contract, ImageInput, load_pixels

pytestmark = pytest.mark.fast

_ROWS, _COLUMNS = np.mgrid[:7, :11]
PATTERN = ((_ROWS * 37 + _COLUMNS * 11 + _ROWS * _COLUMNS * 5) % 256).astype(np.uint8)


def resized(source: Any, height: int, width: int, colour: str = "grey", **fields: Any) -> Any:
    return load_pixels(source, ImageInput(height, width, colour, **fields))


#: What tf.image.resize makes of PATTERN.
BILINEAR_3X4 = [[37.21, 76.62, 116.04, 155.46], [133.75, 205.25, 20.75, 92.25], [155.63, 77.87, 181.46, 178.38]]
NEAREST_3X4 = [[53, 101, 133, 181], [137, 215, 11, 89], [221, 73, 145, 253]]
BILINEAR_9X5 = [
    [6.6, 30.8, 55, 79.2, 103.4],
    [33.27, 64.8, 96.33, 127.87, 159.4],
    [64.38, 104.47, 144.56, 184.64, 110.96],
    [95.49, 144.13, 192.78, 184.53, 34.07],
    [126.6, 183.8, 241, 42.2, 99.4],
    [157.71, 223.47, 90.11, 98.98, 164.73],
    [188.82, 120.91, 81.44, 155.76, 173.18],
    [168.73, 46.8, 129.67, 195.47, 141.8],
    [93, 80.8, 171, 210, 95.4],
]
NEAREST_9X5 = [
    [11, 33, 55, 77, 99],
    [53, 85, 117, 149, 181],
    [53, 85, 117, 149, 181],
    [95, 137, 179, 221, 7],
    [137, 189, 241, 37, 89],
    [179, 241, 47, 109, 171],
    [221, 37, 109, 181, 253],
    [221, 37, 109, 181, 253],
    [7, 89, 171, 253, 79],
]


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ("tf-bilinear", BILINEAR_3X4),
        ("tf-bilinear", BILINEAR_9X5),
        ("tf-nearest", NEAREST_3X4),
        ("tf-nearest", NEAREST_9X5),
    ],
)
def test_the_pixels_are_those_of_tensorflow(filter: str, expected: list[list[float]]) -> None:
    height, width = np.shape(expected)
    most = 0 if filter == "tf-nearest" else 0.51
    grey = resized(PATTERN, height, width, filter=filter)
    assert np.abs(grey[:, :, 0] - expected).max() <= most
    colours = np.stack([PATTERN, 255 - PATTERN, PATTERN // 2], axis=2)
    rgb = resized(colours, height, width, "rgb", filter=filter)
    np.testing.assert_array_equal(rgb[:, :, 0], grey[:, :, 0])
    assert np.abs(rgb[:, :, 1] - (255 - np.array(expected))).max() <= most
    np.testing.assert_array_equal(resized(colours, height, width, "bgr", filter=filter), rgb[:, :, ::-1])


def test_a_row_of_a_large_picture_is_that_of_a_small_one() -> None:
    """A large picture is read in strips; the result does not depend on them."""
    tall = np.repeat(np.random.default_rng(0).integers(0, 256, (2000, 1), dtype=np.uint8), 3000, axis=1)
    narrow = resized(tall[:, :4], 300, 4, filter="tf-bilinear")
    wide = resized(tall, 300, 4, filter="tf-bilinear")
    np.testing.assert_array_equal(wide, narrow)


@pytest.mark.parametrize("filter", ["tf-bilinear", "tf-nearest"])
def test_crop_and_pad_work_on_whole_pixels_as_in_keras(filter: str) -> None:
    spec: dict[str, Any] = {"filter": filter, "background": (9, 9, 9)}
    # 7 x 11 cropped to a square is 7 x 7 from column 2 on; padded to 2 : 1 it is 7 x 13, one column on each side.
    np.testing.assert_array_equal(resized(PATTERN, 3, 3, resize="crop", **spec), resized(PATTERN[:, 2:9], 3, 3, **spec))
    padded = np.pad(PATTERN, ((0, 0), (1, 1)), constant_values=9)
    np.testing.assert_array_equal(resized(PATTERN, 4, 8, resize="pad", **spec), resized(padded, 4, 8, **spec))
    np.testing.assert_array_equal(resized(PATTERN.T, 8, 4, resize="pad", **spec), resized(padded.T, 8, 4, **spec))


@pytest.mark.parametrize("filter", ["tf-bilinear", "tf-nearest", "nearest"])
@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_a_jpeg_is_not_reduced_while_it_is_decoded(filter: str, colour: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (160, 240, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    opened = Image.open(buffer)
    if colour == "grey":
        opened.draft("L", None)  # the brightness is in the file
    whole = np.asarray(opened)
    expected = resized(whole, 16, 24, colour, filter=filter)
    np.testing.assert_array_equal(resized(buffer.getvalue(), 16, 24, colour, filter=filter), expected)


def test_a_picture_of_the_right_size_stays_as_it_is() -> None:
    np.testing.assert_array_equal(resized(PATTERN, 7, 11, filter="tf-bilinear")[:, :, 0], PATTERN)


def test_the_contract_keeps_the_filter() -> None:
    contract = Contract(("a", "b"), ImageInput(8, 8, filter="tf-bilinear"))
    assert Contract.from_json(contract.to_json()) == contract


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_picture_takes_little_memory() -> None:
    code = """
import io
from PIL import Image
from runtime import ImageInput, load_pixels
buffer = io.BytesIO()
Image.new("RGB", (6500, 4900), (10, 20, 30)).save(buffer, "JPEG")
open("/proc/self/clear_refs", "w").write("5")  # forget the peak until here
for size in (224, 4096):
    for resize in ("stretch", "pad"):
        load_pixels(buffer.getvalue(), ImageInput(size, size, resize=resize, filter="tf-bilinear"))
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 300e6
