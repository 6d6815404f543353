"""Grey models that take RGB, and what else an export writes when it is asked to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exporter.artifacts.c_source import C_FILES
from exporter.errors import ExportError
from exporter.export import export
from exporter.gates import Limits
from exporter.recipe import ExportConfig, Recipe
from exporter.representative_dataset import RepresentativeDataset
from exporter.rgb_input import span_black_and_white, with_rgb_contract
from runtime import Classifier, read_model
from runtime.selftest.runner import run_selftest
from runtime.tflite.metadata import read_metadata
from runtime.tflite.model import check_structure
from tests.support.commands import call_pocketlens, succeed
from tests.support.exports import Exported
from trainer.data.run_folder import read_run


@pytest.fixture(scope="module")
def rgb_export(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """float32 and int8 of the grey digits, made to take RGB, and C++ source of the int8 one."""
    out = tmp_path_factory.mktemp("rgb") / "models"
    result = succeed(call_pocketlens("export", digits_run, "--out", out, "--rgb-input", "--c-array"))
    assert "--rgb-input --c-array" in (out / "report.json").read_text()
    assert result.stdout.splitlines()[2].endswith("passed")
    return out


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_a_grey_model_takes_rgb_and_answers_as_before(
    rgb_export: Path, digits_export: Exported, digits_run: Path, name: str
) -> None:
    path = rgb_export / f"{name}.tflite"
    rgb, grey = Classifier(path), Classifier(digits_export.folder / f"{name}.tflite")
    spec = rgb.contract.image_input
    assert (spec.colour, spec.shape) == ("rgb", (8, 8, 3))
    assert (spec.mean, spec.std) == (grey.contract.input.mean * 3, grey.contract.input.std * 3)
    assert rgb.contract.labels == grey.contract.labels
    assert rgb.preprocessor.feeds_raw_pixels == (name == "int8")
    run = read_run(digits_run)
    images = [run.source.sample(int(index)) for index in run.splits["test"]]
    before, after = (np.stack([c.scores(image) for image in images]) for c in (grey, rgb))
    far = np.abs(before - after).max()
    same = (before.argmax(axis=1) == after.argmax(axis=1)).mean()
    assert far < (1e-4 if name == "float32" else 0.25)
    assert same == 1 if name == "float32" else same >= 0.99


def test_colours_become_the_grey_that_pillow_makes_of_them(rgb_export: Path, digits_export: Exported) -> None:
    rgb, grey = Classifier(rgb_export / "float32.tflite"), Classifier(digits_export.float32)
    rng = np.random.default_rng(0)
    for _ in range(20):
        picture = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        np.testing.assert_allclose(rgb.scores(picture), grey.scores(picture), atol=0.02)


def test_the_metadata_and_the_self_test_are_of_the_rgb_model(rgb_export: Path) -> None:
    content = (rgb_export / "int8.tflite").read_bytes()
    found = read_metadata(content, check_structure(content), "int8.tflite")
    assert found is not None
    assert (found.colour, len(found.mean)) == ("rgb", 3)
    assert run_selftest(content).passed


def test_the_source_is_that_of_the_int8_file(rgb_export: Path) -> None:
    flatbuffer = read_model(rgb_export / "int8.tflite").flatbuffer
    assert f"model_data_len = {len(flatbuffer)};" in (rgb_export / "model_data.h").read_text()
    lines = (rgb_export / "model_data.cc").read_text().split("= {\n")[1].split("};")[0]
    assert bytes(map(int, lines.replace("\n", "").rstrip(",").split(","))) == flatbuffer


def test_no_source_is_written_of_a_model_that_failed_its_gate(digits_run: Path, tmp_path: Path) -> None:
    exported = export(
        read_run(digits_run), tmp_path, [Recipe.float32()], ExportConfig(limits=Limits(max_bytes=1), c_array=True)
    )
    assert not exported.passed
    assert not {path.name for path in tmp_path.iterdir()} & set(C_FILES)


def test_a_colour_model_is_refused(digits_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="takes rgb pictures already; leave out `rgb_input`"):
        with_rgb_contract(with_rgb_contract(read_run(digits_run)))


def test_calibration_spans_all_greys() -> None:
    pixels = np.random.default_rng(0).integers(20, 200, (3, 4, 4, 3), dtype=np.uint8)
    pixels[1, 0, 0] = (0, 255, 0)  # each channel's least and greatest, but neither black nor white
    found = span_black_and_white(RepresentativeDataset(pixels, {}, ())).samples
    assert (found == 0).all(axis=3).sum() == (found == 255).all(axis=3).sum() == 1
    assert (found != pixels).any(axis=3).sum() == 2
    np.testing.assert_array_equal(span_black_and_white(RepresentativeDataset(found, {}, ())).samples, found)
