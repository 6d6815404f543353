"""The command `data save`: one sample as a file for `classify`; and plots, which are no samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.commands import answer, invoke, run_pocketlens, succeed
from tests.support.datasets import images_of
from tests.support.exports import Exported
from trainer.data import Geometry, load_dataset


def test_a_saved_image_is_answered_as_in_its_data_set(
    digits_export: Exported, colour_folder: Path, tmp_path: Path
) -> None:
    saved, plot = tmp_path / "saved.png", tmp_path / "plot.png"
    found = json.loads(answer("data", "save", "digits", "--index", "test:12", saved, "--json"))
    assert found["sample"] == "test:12"
    data = load_dataset("digits", Geometry())
    with Image.open(saved) as image:
        np.testing.assert_array_equal(np.asarray(image), images_of(data)[found["index"]])
    assert f"true label: {found['label']}" in answer("data", "save", "digits", "--index", found["index"], saved)
    one = json.loads(answer("evaluate", digits_export.int8, "--dataset", "digits", "--index", "test:12", "--json"))
    classified = succeed(run_pocketlens("classify", "--model", digits_export.int8, "--json", "--top", 1, saved))
    assert classified.stderr == ""
    (best,) = json.loads(classified.stdout)["predictions"]
    assert (best["label"], best["score"]) == (one["answer"], pytest.approx(one["score"]))

    answer("data", "show", "digits", "--index", "test:12", "--plot", plot)
    for images in ((plot,), (plot, saved)):
        warned = succeed(run_pocketlens("classify", "--model", digits_export.int8, *images)).stderr
        assert (
            warned
            == f"{plot}: a plot that Pocketlens drew, not an image; `pocketlens data save` writes the image itself\n"
        )

    for suffix in (".png", None):
        shown = json.loads(answer("data", "show", colour_folder, "--index", "train:3", "--json"))
        out = tmp_path / f"copy{suffix or Path(shown['file']).suffix}"
        answer("data", "save", colour_folder, "--index", "train:3", out)
        with Image.open(out) as copied, Image.open(colour_folder / shown["file"]) as original:
            np.testing.assert_array_equal(np.asarray(copied), np.asarray(original))
    assert out.read_bytes() == (colour_folder / shown["file"]).read_bytes()
    refused: list[tuple[tuple[object, ...], str]] = [
        (("digits", "--index", 3, tmp_path / "x.jpg"), "ends in .png"),
        (("digits", "--index", "test:9999", saved), "test:0 to test:358"),
        (("digits", saved), "--index"),
        (("circles", "--index", 3, saved), "ends in .csv"),
    ]
    for arguments, reason in refused:
        result = invoke("data", "save", *arguments)
        assert result.exit_code == 2
        assert reason in " ".join(result.stderr.split())


def test_a_saved_reading_is_a_row_that_classify_reads(tmp_path: Path) -> None:
    out = tmp_path / "row.csv"
    answer("data", "save", "circles", "--index", "7", out)
    data = load_dataset("circles", Geometry())
    assert np.loadtxt(out, delimiter=",", skiprows=1).tolist() == data.pixels[7].tolist()
    assert out.read_text().splitlines()[0] == "x,y"
