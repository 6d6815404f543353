"""Data sets of features: a CSV file of readings, told apart from a list of images; circles; their scaling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime import Contract, FeaturesInput
from tests.support.commands import run_pocketlens, succeed
from trainer.config import TrainingConfig
from trainer.data import Geometry, load_dataset
from trainer.data.normalization import measure_feature_scaling
from trainer.errors import DatasetError, TrainingError
from trainer.evaluation.eval_set import from_dataset
from trainer.session import prepare_session
from trainer.training import train

GOOD = "".join(f"{i},{i % 3}.5,{'wet' if i % 2 else 'dry'}\n" for i in range(20))
HEADER = "moisture,light,label\n"


def written(folder: Path, text: str | bytes, name: str = "plants.csv") -> str:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(file)


def test_readings_of_a_csv_file(tmp_path: Path) -> None:
    data = load_dataset(written(tmp_path, "\ufeff" + HEADER + GOOD), Geometry())
    assert (data.name, data.labels, data.task) == ("plants", ("dry", "wet"), "multiclass")
    assert data.input == FeaturesInput(("moisture", "light"))
    assert data.pixels.shape == (20, 2)
    assert data.pixels[np.array([1])].tolist() == [[1.0, 1.5]]
    assert data.targets.tolist() == [0, 1] * 10
    assert data.left_out == ()
    assert data.augmentation == ()
    assert len(data.date) == 10


def test_rows_that_cannot_be_used_are_left_out_and_listed(tmp_path: Path) -> None:
    bad = ["3,,dry", "x,1,dry", "nan,1,dry", "1,inf,wet", "1,2", "1,2,3,dry", "1,2,", "1,2,a\tb"]
    path = written(tmp_path, HEADER + GOOD + "\n".join(bad) + "\n")
    data = load_dataset(path, Geometry())
    assert len(data.targets) == 20
    reasons = ["light is ''", "moisture is 'x'", "moisture is 'nan'", "light is 'inf'"]
    reasons += ["2 cells, expected 3", "4 cells", "label is ''", "label is 'a\\\\tb'"]
    assert len(data.left_out) == len(bad)
    for line, (told, reason) in enumerate(zip(data.left_out, reasons, strict=True), start=22):
        assert told.startswith(f"{path}:{line}: {reason}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty; expected a header"),
        ("moisture,light,class\n1,2,wet\n", "begins with 'moisture,light,class'"),
        ("1,2,wet\n3,4,dry\n", "begins with '1,2,wet'"),
        ("label\nwet\n", "no features in its header"),
        ("x,x,label\n" + GOOD, "1 distinct"),
        ("x,,label\n" + GOOD, "a feature's name is ''"),
        (HEADER, "no rows"),
        (HEADER + "1,2,wet\n" * 9, "one class (wet)"),
        (HEADER + "".join(f"1,2,{i}.5\n" for i in range(30)), "30 different labels in 30 rows"),
        (HEADER + "a,1,wet\nb,1,dry\n1,1,wet\n", "2 of 3 rows cannot be used. The first: "),
        (HEADER + "1,2,we\0t\n", "not text"),
        (b"\xff\xfem\0", "not text"),
        ((HEADER + GOOD + "1,2,n\u00e4\u00dfe\n").encode("latin-1"), "plants.csv:22: not in UTF-8; save it as UTF-8"),
        ("moisture;light;label\n1,5;2;wet\n", "semicolons between its cells; save it with commas"),
        ("moisture\tlight\tlabel\n1\t2\twet\n", "tabs between its cells; save it with commas"),
        ("path;label\na.png;cat\n", "semicolons between its cells; save it with commas"),
        (
            "filename,label\n1.png,cat\n2.png,dog\n",
            "'1.png' is an image; a CSV file of images has the header path,label",
        ),
        (HEADER + '1,2,"wet\n', "no CSV"),
    ],
)
def test_a_file_that_holds_no_readings_says_why(text: str | bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        load_dataset(written(tmp_path, text), Geometry())
    assert words in str(caught.value)
    assert "plants.csv" in str(caught.value)


def test_few_rows_can_be_measured_and_not_trained_on(tmp_path: Path) -> None:
    data = load_dataset(written(tmp_path, HEADER + "1,2,wet\n3,4,dry\n"), Geometry())
    material = from_dataset(data, Contract(("wet", "dry"), data.input), "all", 0, "model")
    assert material.targets[material.chosen].tolist() == [0, 1]
    with pytest.raises(DatasetError, match="class 'dry' has too few images or rows: 1 left"):
        prepare_session(data, TrainingConfig("dense", units=(4,), epochs=1))


def test_a_file_whose_name_no_contract_takes(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"is called 'my\\xa0plants', .*; rename the file"):
        load_dataset(written(tmp_path, HEADER + GOOD, "my\xa0plants.csv"), Geometry())


def test_more_labels_than_a_contract_takes(tmp_path: Path) -> None:
    rows = "".join(f"1,2,plant {number}\n" * 3 for number in range(10_001))
    with pytest.raises(DatasetError, match="10,001 labels, more than 10,000"):
        load_dataset(written(tmp_path, HEADER + rows), Geometry())


def test_a_list_of_images_is_told_apart(tmp_path: Path) -> None:
    for i in range(6):
        Image.fromarray(np.full((8, 8), 40 * i, np.uint8)).save(tmp_path / f"{i}.png")
    rows = "".join(f"{i}.png,{'cat' if i % 2 else 'dog'}\n" for i in range(6))
    for header in ("path,label\n", "Path,Labels\n", ""):
        data = load_dataset(written(tmp_path, header + rows), Geometry())
        assert data.task == "multiclass"  # one label a line
        assert data.input.kind == "image"


def test_what_is_for_images_is_refused(tmp_path: Path) -> None:
    for name in ("circles", written(tmp_path, HEADER + GOOD)):
        for geometry in (Geometry((8, 8)), Geometry(colour="grey"), Geometry(resize="pad")):
            with pytest.raises(DatasetError, match=r"holds features: .* for images"):
                load_dataset(name, geometry)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--image-size", "8"), "--image-size"),
        (("--size", "tiny"), "--size is for images, and circles has 2 features (x, y)"),
        (("--arch", "cnn"), "use --arch dense"),
        (("--augment", "flip,shift"), "--augment flip,shift is for images"),
        (("--data-dir", "x"), "--data-dir"),
    ],
)
def test_an_option_for_images_is_one_plain_line(options: tuple[str, ...], words: str, tmp_path: Path) -> None:
    result = run_pocketlens("train", "--dataset", "circles", *options, "--out", tmp_path / "run")
    assert result.returncode == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_circles_are_always_the_same() -> None:
    data, again = (load_dataset("circles", Geometry()) for _ in range(2))
    assert (data.labels, data.task) == (("outer", "inner"), "binary")
    np.testing.assert_array_equal(data.pixels[:], again.pixels[:])
    radius = np.hypot(*np.asarray(data.pixels).T)
    assert radius[data.targets == 1].mean() == pytest.approx(0.8, abs=0.01)
    assert radius[data.targets == 0].mean() == pytest.approx(1.0, abs=0.01)


def test_each_feature_has_a_scaling_of_its_own() -> None:
    vectors = np.random.default_rng(0).normal((20, 101_325, 7), (5, 800, 0), (1000, 3))
    spec = measure_feature_scaling(FeaturesInput(("temperature", "pressure", "constant")), vectors)
    standard = (vectors - spec.mean) / spec.std
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(standard.std(axis=0), (1, 1, 0), atol=1e-9)
    assert spec.std[2] == 1
    huge = measure_feature_scaling(FeaturesInput(("time",)), np.full((10, 1), 1.7e9 + 0.1))
    assert huge.std == (1.0,)


def test_scaling_is_measured_on_training_vectors_alone() -> None:
    data = load_dataset("circles", Geometry())
    prepared = prepare_session(data, TrainingConfig("dense", units=(4,), epochs=1))
    train_vectors = data.pixels[prepared.splits.train]
    assert prepared.contract.input.mean == pytest.approx(train_vectors.mean(axis=0).tolist())
    assert prepared.contract.task == "binary"


def test_a_network_for_images_does_not_take_vectors() -> None:
    with pytest.raises(TrainingError, match="`architecture=dense`"):
        train(load_dataset("circles", Geometry()), TrainingConfig("cnn", epochs=1))


def test_a_persons_own_network_takes_vectors(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "import keras\n"
        "def build_model(input_shape, classes):\n"
        "    inputs = keras.Input(input_shape)\n"
        "    hidden = keras.layers.Dense(4, activation='relu')(inputs)\n"
        "    return keras.Model(inputs, keras.layers.Dense(classes, activation='sigmoid')(hidden))\n"
    )
    spec = TrainingConfig("own", model_file=str(file), epochs=1)
    assert prepare_session(load_dataset("circles", Geometry()), spec).model.input_shape == (None, 2)


def test_a_training_on_vectors_speaks_of_vectors_and_prints_nothing_of_tensorflows(tmp_path: Path) -> None:
    network = ("--arch", "dense", "--units", "4", "--epochs", 1)
    result = succeed(run_pocketlens("train", "--dataset", "circles", *network, "--out", tmp_path / "run"))
    assert "NodeDef" not in result.stderr  # of the pipeline that `model.predict` makes of an array
    assert "(200 vectors)" in result.stdout
    assert "image" not in result.stdout + result.stderr
