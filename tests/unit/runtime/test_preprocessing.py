"""From pixels to the input tensor."""

from __future__ import annotations

import numpy as np
import pytest

from runtime import ImageInput, ModelFileError, Preprocessor, TensorSpec

pytestmark = pytest.mark.fast

ALL_PIXELS = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


def tensor(dtype: type, scale: float = 0.0, zero_point: int = 0) -> TensorSpec:
    return TensorSpec((1, 16, 16, 1), np.dtype(dtype), scale, zero_point)


def test_float_is_pixel_minus_mean_over_std() -> None:
    spec = ImageInput(1, 1, "rgb", mean=(10, 20, 30), std=(2, 4, 8))
    scaled = Preprocessor(spec)(np.array([[[12, 24, 38]]], np.uint8))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [[[[1, 1, 1]]]], rtol=1e-6)


def test_raw_pixels_go_in_where_the_tensor_suits_the_contract() -> None:
    spec = ImageInput(16, 16, "grey", mean=(73,), std=(90.25,))
    prepare = Preprocessor(spec, tensor(np.uint8, float(np.float32(1 / 90.25)), 73))
    assert prepare.feeds_raw_pixels
    assert prepare.scale(ALL_PIXELS) is ALL_PIXELS


def test_int8_input_gets_the_same_pixels_less_128() -> None:
    spec = ImageInput(16, 16, "grey", mean=(73,), std=(90.25,))
    prepare = Preprocessor(spec, tensor(np.int8, 1 / 90.25, 73 - 128))
    assert not prepare.feeds_raw_pixels
    np.testing.assert_array_equal(prepare.scale(ALL_PIXELS).astype(int), ALL_PIXELS.astype(int) - 128)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_any_other_quantization_is_within_half_a_step(dtype: type) -> None:
    spec = ImageInput(16, 16, "grey", mean=(100.5,), std=(60,))
    target = tensor(dtype, 0.02, 90 if dtype is np.uint8 else -38)
    stored = Preprocessor(spec, target).scale(ALL_PIXELS)
    wanted = (ALL_PIXELS.astype(float) - 100.5) / 60
    assert stored.dtype == dtype
    assert np.abs(target.dequantize(stored) - wanted).max() <= 0.0101


def test_channels_scaled_apart_each_have_their_own_table() -> None:
    spec = ImageInput(1, 1, "rgb", mean=(0, 100, 200), std=(50, 100, 150))
    stored = Preprocessor(spec, TensorSpec((1, 1, 1, 3), np.dtype(np.uint8), 0.02, 70)).scale(
        np.array([[[[50, 50, 50]]]], np.uint8)
    )
    assert stored.tolist() == [[[[120, 45, 20]]]]


def test_what_lies_beyond_the_tensors_range_is_clipped() -> None:
    spec = ImageInput(16, 16, "grey", mean=(0,), std=(1,))
    stored = Preprocessor(spec, tensor(np.int8, 1.0, 0)).scale(ALL_PIXELS)
    assert stored.max() == 127


@pytest.mark.parametrize("spec", [tensor(np.int32), tensor(np.float64), tensor(np.uint8, 0.0)])
def test_tensors_that_no_picture_fits_are_refused(spec: TensorSpec) -> None:
    with pytest.raises(ModelFileError):
        Preprocessor(ImageInput(16, 16, "grey"), spec)


def test_a_few_pixels_are_scaled_to_the_same_bits_as_many() -> None:
    spec = ImageInput(128, 96, "rgb", mean=(120.5,) * 3, std=(57.3,) * 3)
    pixels = np.random.default_rng(0).integers(0, 256, (1, *spec.shape), dtype=np.uint8)
    prepare = Preprocessor(spec)
    rows = [prepare.scale(pixels[:, row : row + 1]) for row in range(spec.height)]
    assert (np.concatenate(rows, axis=1) == prepare.scale(pixels)).all()
