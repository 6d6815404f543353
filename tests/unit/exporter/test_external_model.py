"""A person's own model: what is taken, what is refused before anything is written, and that no code of it runs."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from exporter.errors import ExportError
from exporter.external_model import ImageFolders, assemble_contract, external_run
from exporter.keras_loading import load_classifier
from runtime import Classifier, Contract, ContractError, ImageInput
from runtime.external.adopt import ExternalOptions
from tests.support.commands import call_pocketlens, succeed
from tests.support.datasets import SHADES, fill_class

LABELS = tuple(SHADES)  # blue, green, red
OPTIONS = ExternalOptions(LABELS, mean=0.0, std=255.0)


def colour_network() -> Any:
    """It tells the three shades by their mean colour: right without any training."""
    inputs = keras.Input((24, 24, 3))
    x = layers.Conv2D(3, 1, activation="relu", name="mix")(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="shade")(x))
    to_shade = 40 * np.array([[-1, -1, 2], [-1, 2, -1], [2, -1, -1]], np.float32)
    model.set_weights([np.eye(3, dtype=np.float32).reshape(1, 1, 3, 3), np.zeros(3), to_shade, np.zeros(3)])
    return model


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.keras, the same as a SavedModel, labels.txt, and folders of images."""
    root = tmp_path_factory.mktemp("own")
    model = colour_network()
    model.save(root / "model.keras")
    model.export(root / "saved", verbose=False)
    (root / "labels.txt").write_text("\n".join(LABELS) + "\n")
    for number, label in enumerate(LABELS):
        fill_class(root / "calibration" / label, label, range(40 * number, 40 * number + 40))
        fill_class(root / "test" / label, label, range(500, 520))
    return root


def options(root: Path, **changes: object) -> list[object]:
    given: dict[str, object] = {
        "labels": root / "labels.txt",
        "calibration": root / "calibration",
        "test": root / "test",
        "mean": 0,
        "std": 255,
    } | changes
    return [word for name, value in given.items() if value is not None for word in (f"--{name}", value)]


@pytest.mark.parametrize("name", ["model.keras", "saved"])
def test_it_becomes_a_checked_file_with_its_contract(material: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "models"
    result = succeed(call_pocketlens("export", material / name, *options(material), "--out", out, "--max-drop", 0.05))
    report = json.loads((out / "report.json").read_text())
    assert report["splits"] == {"train": 120, "validation": 0, "test": 60}
    assert [model["accuracy"] for model in report["models"]] == [1.0, pytest.approx(1.0, abs=0.05)]
    assert report["calibration"]["classes"] == 3
    assert f"--labels {material / 'labels.txt'}" in report["command"]
    assert "published in" in result.stdout
    for model in ("float32.tflite", "int8.tflite"):
        classifier = Classifier(out / model)
        assert classifier.contract.labels == LABELS
        assert classifier.contract.input == ImageInput(24, 24, "rgb", mean=(0.0,) * 3, std=(255.0,) * 3)
        assert classifier.classify(next((material / "test/red").iterdir()))[0].label == "red"


def test_a_contract_file_does_instead_of_options(material: Path, tmp_path: Path) -> None:
    contract = Contract(LABELS, ImageInput(24, 24, "rgb", "pad"))
    (tmp_path / "contract.json").write_text(contract.to_json())
    given = options(material, labels=None, mean=None, std=None, contract=tmp_path / "contract.json")
    out = tmp_path / "out"
    succeed(call_pocketlens("export", material / "model.keras", *given, "--out", out, "--mode", "float32"))
    assert Classifier(out / "float32.tflite").contract == contract


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"mean": None}, 1, "--mean missing, or --contract"),
        ({"labels": None, "std": None}, 1, "--labels and --std missing"),
        ({"calibration": None}, 2, "Missing --calibration"),
        ({"calibration": "nowhere"}, 1, "no images"),
        ({"mean": "a"}, 2, "expected one number, or three"),
        ({"contract": "c.json"}, 2, "give one of them"),
        ({"colour": "grey"}, 1, "takes 3 channels, --colour grey gives 1"),
    ],
)
def test_what_is_missing_or_wrong_is_one_plain_line(
    material: Path, tmp_path: Path, changes: dict[str, object], status: int, reason: str
) -> None:
    result = call_pocketlens("export", material / "model.keras", *options(material, **changes), "--out", tmp_path / "o")
    assert result.returncode == status, result.stderr
    assert reason in result.stderr.splitlines()[-1]
    assert not (tmp_path / "o").exists()


def test_a_model_without_options_says_which(material: Path, tmp_path: Path) -> None:
    for name in ("model.keras", "saved"):
        result = call_pocketlens("export", material / name, "--out", tmp_path / "o")
        assert result.returncode == 2
        assert "is a model: it needs --labels" in result.stderr


def gathered(material: Path, folders: ImageFolders, contract: Any = OPTIONS) -> None:
    external_run(material / "model.keras", folders, contract)


def test_folders_that_do_not_fit(material: Path, tmp_path: Path) -> None:
    good = material / "calibration"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExportError, match=r"`calibration` .*empty: no images"):
        gathered(material, ImageFolders(tmp_path / "empty", material / "test"))
    fill_class(tmp_path / "strange" / "purple", "red", range(3))
    with pytest.raises(ExportError, match=r"purple.* is in no folder of a label's name; .*: blue, green, red"):
        gathered(material, ImageFolders(good, tmp_path / "strange"))
    with pytest.raises(ContractError, match="3 outputs and 2 labels"):
        gathered(material, ImageFolders(good, material / "test"), OPTIONS._replace(labels=("a", "b")))
    with pytest.raises(ContractError, match="multilabel"):
        gathered(material, ImageFolders(good, material / "test"), Contract(LABELS, ImageInput(24, 24), "multilabel"))


def test_images_that_cannot_be_read_are_listed_and_left_out(
    material: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for split in ("calibration", "test"):
        for label in LABELS:
            fill_class(tmp_path / split / label, label, range(100 * len(split), 100 * len(split) + 4))
        (tmp_path / split / "red/9.jpg").write_bytes(b"no image")
    (tmp_path / "test/red/phone.heic").write_bytes(b"no image")
    (tmp_path / "test/red/@eaDir").mkdir()
    (tmp_path / "test/red/@eaDir/small.jpg").write_bytes(b"a system's file")
    run = external_run(material / "model.keras", ImageFolders(tmp_path / "calibration", tmp_path / "test"), OPTIONS)
    assert {name: len(places) for name, places in run.splits.items()} == {"train": 12, "validation": 0, "test": 12}
    calibration, test = run.notes
    assert calibration.startswith("calibration: 1 of 13 images cannot be read and are left out: ")
    assert "9.jpg" in calibration
    assert test.startswith("test: 2 of 14 images cannot be read")
    assert test.endswith("; 1 more")
    assert sum(line.startswith("left out: ") for line in caplog.messages) == 3
    for path in (tmp_path / "test/green").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ExportError, match=r"`test` .*class 'green' has no usable image; the first: .*\.(jpg|png)"):
        gathered(material, ImageFolders(tmp_path / "calibration", tmp_path / "test"))


def test_calibration_images_need_no_classes(material: Path, tmp_path: Path) -> None:
    fill_class(tmp_path / "flat", "green", range(5))
    fill_class(tmp_path / "flat" / ".thumbnails", "green", range(5, 9))
    for label in LABELS:
        fill_class(tmp_path / "validation" / label, label, range(600, 620))
    folders = ImageFolders(tmp_path / "flat", material / "test", tmp_path / "validation")
    run = external_run(material / "model.keras", folders, OPTIONS)
    assert run.is_external
    assert run.targets[run.splits["train"]].tolist() == [-1] * 5
    assert run.targets[run.splits["test"]].tolist() == [0] * 20 + [1] * 20 + [2] * 20
    assert len(run.splits["validation"]) == 60
    assert len(np.concatenate([*run.splits.values()])) == len(run.source) == 125


def half_network() -> Any:
    """It tells whether the left or the upper half of a picture is bright: right without any training."""
    inputs = keras.Input((16, 16, 1))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    rows, columns = np.mgrid[:16, :16]
    halves = np.stack([columns < 8, rows < 8], axis=-1).reshape(256, 2)
    model.set_weights([halves.astype(np.float32), np.zeros(2)])
    return model


def test_photos_with_an_orientation_are_said_and_can_be_taken_as_stored(tmp_path: Path) -> None:
    """Keras's loaders ignore the EXIF orientation: a network that they trained knows the stored pixels alone."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for split, seeds in (("calibration", range(20)), ("test", range(50, 60))):
        for label, bright in (("left", np.s_[:, :8]), ("top", np.s_[:8])):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for seed in seeds:
                pixels = np.random.default_rng(seed).integers(0, 90, (16, 16), dtype=np.uint8)
                pixels[bright] += 150
                Image.fromarray(pixels).save(folder / f"{seed}.jpg", exif=exif if seed % 5 else b"")
    half_network().save(tmp_path / "half.keras")
    (tmp_path / "labels.txt").write_text("left\ntop\n")
    words = ["export", tmp_path / "half.keras", "--labels", tmp_path / "labels.txt", "--mode", "float32"]
    words += ["--calibration", tmp_path / "calibration", "--test", tmp_path / "test"]

    turned = call_pocketlens(*words, "--out", tmp_path / "turned", "--accept-low-accuracy")
    report = json.loads((tmp_path / "turned/report.json").read_text())
    said = "32 of 40 calibration and 16 of 20 test images carry an EXIF orientation and were turned by it"
    assert any(line.startswith(said) for line in report["warnings"])
    assert said in turned.stderr
    assert report["models"][0]["accuracy"] < 0.7

    succeed(call_pocketlens(*words, "--out", tmp_path / "stored", "--orientation", "ignore"))
    report = json.loads((tmp_path / "stored/report.json").read_text())
    assert report["models"][0]["accuracy"] == 1.0
    assert not any("EXIF" in line for line in report["warnings"])
    classifier = Classifier(tmp_path / "stored/float32.tflite")
    assert classifier.contract.image_input.orientation == "ignore"
    assert classifier.classify(tmp_path / "test/left/51.jpg")[0].label == "left"

    folders = ImageFolders(tmp_path / "calibration", tmp_path / "test")
    chosen = ExternalOptions(("left", "top"), orientation="exif")
    assert external_run(tmp_path / "half.keras", folders, chosen).notes == ()


def test_the_contract_of_one_output() -> None:
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(layers.Flatten()(inputs)))
    contract = assemble_contract(model, "m.keras", ExternalOptions(("no", "yes"), mean=127.5, std=127.5))
    assert (contract.task, contract.image_input.colour) == ("binary", "grey")


def _two_inputs() -> Any:
    first, second = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    return keras.Model([first, second], layers.Dense(2)(layers.Flatten()(layers.Add()([first, second]))))


def _two_outputs() -> Any:
    inputs = keras.Input((8, 8, 1))
    flat = layers.Flatten()(inputs)
    return keras.Model(inputs, [layers.Dense(2)(flat), layers.Dense(3)(flat)])


def _pooled(shape: Sequence[int | None]) -> Any:
    inputs = keras.Input(tuple(shape))
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(inputs)))


def _not_finite() -> Any:
    model = _pooled((8, 8, 3))
    kernel, bias = model.get_weights()
    kernel[1, 1] = np.nan
    model.set_weights([kernel, bias])
    return model


def _channels_first() -> Any:
    inputs = keras.Input((3, 24, 8))
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(inputs)))


def _text() -> Any:
    inputs = keras.Input((1,), dtype="string")
    return keras.Model(inputs, layers.StringLookup(vocabulary=["a", "b"], output_mode="multi_hot")(inputs))


def _picture_out() -> Any:
    inputs = keras.Input((8, 8, 1))
    return keras.Model(inputs, layers.Conv2D(2, 3)(inputs))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (_two_inputs, "2 inputs and 1 outputs, expected 1 of each"),
        (_two_outputs, "1 inputs and 2 outputs"),
        (lambda: _pooled((None, None, 3)), r"input of shape \(None, None, None, 3\).* runs a dynamic one at 1x1"),
        (lambda: _pooled((8, None, 3)), "fixed height, width"),
        (lambda: _pooled((8, 8, 4)), "input of 4 channels, expected 1"),
        (_not_finite, r"weights of dense\w*/kernel are not numbers .*65,504 overflow: train in float32"),
        (_channels_first, r"input of 8 channels, .*Input\(\(24, 8, 3\)\), keras.layers.Permute\(\(3, 1, 2\)\)"),
        (_text, "takes text"),
        (_picture_out, r"output of shape \(None, 6, 6, 2\), expected \(batch, classes\)"),
    ],
)
def test_what_is_no_classifier_of_one_picture(build: Callable[[], Any], reason: str, tmp_path: Path) -> None:
    build().save(tmp_path / "model.keras")
    with pytest.raises(ExportError, match=reason):
        load_classifier(tmp_path / "model.keras")


def test_a_lambda_is_refused_by_its_layers_name_and_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    path = str(marker)
    inputs = keras.Input((8, 8, 1))
    code = layers.Lambda(
        lambda x: (__import__("pathlib").Path(path).write_bytes(b""), x)[1], output_shape=(8, 8, 1), name="trick"
    )
    keras.Model(inputs, layers.Dense(2)(layers.Flatten()(code(inputs)))).save(tmp_path / "model.keras")
    marker.unlink(missing_ok=True)
    with pytest.raises(ExportError, match="cannot be loaded: layer 'trick' is a Lambda, which carries code"):
        load_classifier(tmp_path / "model.keras")
    assert not marker.exists()


@pytest.mark.parametrize(
    "module", ["os", "tests.support.commands", "keras.utils", "keras.src.utils.file_utils", "kerasevil"]
)
def test_code_that_is_not_of_layers_is_refused_by_name(material: Path, tmp_path: Path, module: str) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(material / "model.keras") as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                config = json.loads(content)
                dense = next(entry for entry in config["config"]["layers"] if entry["class_name"] == "Dense")
                dense["config"]["activation"] = {"class_name": "get_file", "module": module, "config": {"name": "evil"}}
                content = json.dumps(config).encode()
            target.writestr(name, content)
    with pytest.raises(
        ExportError, match=f"layer 'evil' is get_file of {module}, code that is not part of Keras; .*, or a SavedModel"
    ):
        load_classifier(path)


def test_a_registered_layer_of_ones_own_is_named(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable("of_a_test")
    class Own(layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x

    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(Own(name="mine")(inputs))))
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
        with pytest.raises(
            ExportError, match=r"layer 'mine' is .*Own of (of_a_test|tests.*), code that is not part of Keras"
        ):
            load_classifier(tmp_path / name)


def _keras_2_config(classes: int = 2) -> dict[str, Any]:
    """A network as Keras 2.15 describes it in an `.h5` file."""
    common = {"trainable": True, "dtype": {"module": "keras.mixed_precision", "class_name": "Policy"}}
    common["dtype"] |= {"config": {"name": "mixed_float16"}, "registered_name": None}  # type: ignore[operator]
    depthwise = {"name": "depthwise", "kernel_size": [3, 3], "strides": [1, 1], "padding": "valid", "groups": 1}
    entries = [
        ("InputLayer", {"batch_input_shape": [None, 8, 8, 1], "dtype": "float32", "sparse": False, "name": "given"}),
        ("DepthwiseConv2D", {**common, **depthwise, "activation": "relu", "use_bias": True}),
        ("Flatten", {**common, "name": "flatten", "data_format": "channels_last"}),
        ("Dense", {"name": "last", "dtype": "float32", "units": classes, "activation": "softmax", "use_bias": True}),
    ]
    described = [{"class_name": kind, "config": config} for kind, config in entries]
    return {"class_name": "Sequential", "config": {"name": "sequential", "layers": described}}


def _write_h5(path: Path, config: object) -> Any:
    """The `.h5` file of such a network, and the network."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Flatten(name="flatten")(layers.DepthwiseConv2D(3, activation="relu", name="depthwise")(inputs))
    model = keras.Sequential(keras.Model(inputs, layers.Dense(2, activation="softmax", name="last")(x)).layers)
    model.save(path)
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.15.0"
    return model


@pytest.mark.parametrize("name", ["model.h5", "model.hdf5", "old.keras"])
def test_an_h5_file_of_keras_2_gives_its_answers(tmp_path: Path, name: str) -> None:
    model = _write_h5(tmp_path / "model.h5", _keras_2_config())
    (tmp_path / "model.h5").rename(tmp_path / name)
    found = load_classifier(tmp_path / name)
    images = np.random.default_rng(0).uniform(0, 1, (4, 8, 8, 1)).astype(np.float32)
    np.testing.assert_allclose(found.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("Lambda", "'flatten' is a Lambda, .*Rescaling.*SavedModel"), ("TFOpLambda", "saved it .*model.export")],
)
def test_an_h5_file_is_checked_as_an_archive_is(tmp_path: Path, kind: str, reason: str) -> None:
    config = _keras_2_config()
    config["config"]["layers"][2]["class_name"] = kind
    _write_h5(tmp_path / "model.h5", config)
    with pytest.raises(ExportError, match=reason):
        load_classifier(tmp_path / "model.h5")


def test_h5_files_that_cannot_be_read_are_refused_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    model = _write_h5(path, _keras_2_config())
    sound = path.read_bytes()
    model.save(tmp_path / "model.keras")
    path.write_bytes(sound + (tmp_path / "model.keras").read_bytes())
    with pytest.raises(ExportError, match="an HDF5 file and a zip archive at once"):
        load_classifier(path)
    path.write_bytes(sound[:3000])
    with pytest.raises(ExportError, match=r"a damaged HDF5 file .*model\.save"):
        load_classifier(path)
    path.write_bytes(sound)
    with h5py.File(path, "r+") as file:
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/")
    with pytest.raises(ExportError, match="elsewhere in it is no plain member"):
        load_classifier(path)
    path.write_bytes(sound)
    with h5py.File(path, "r+") as file:
        del file.attrs["model_config"]
    with pytest.raises(ExportError, match=r"holds weights alone, .*load_weights"):
        load_classifier(path)


def test_an_archive_of_keras_2_is_told_what_to_do(material: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(material / "model.keras") as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = b'{"keras_version": "2.15.0"}' if name == "metadata.json" else source.read(name)
            target.writestr(name, content)
    with pytest.raises(ExportError, match=r"archive of Keras 2 \(2\.15\.0\), .*model\.export\('folder'\)"):
        load_classifier(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off"])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(ExportError, match=r"cannot be loaded: no \.keras archive"):
        load_classifier(tmp_path / "model.keras")


@pytest.mark.parametrize("policy", ["float16", "mixed_bfloat16"])
def test_a_saved_model_in_half_precision_names_the_cure(tmp_path: Path, policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        model = _pooled((8, 8, 3))
    finally:
        keras.config.set_dtype_policy("float32")
    model.export(tmp_path / "saved", verbose=False)
    with pytest.raises(ExportError, match=r"computes in b?float16 .*; give the \.keras file"):
        load_classifier(tmp_path / "saved")


def test_a_damaged_saved_model(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/saved_model.pb").write_bytes(b"\xff\xff garbage")
    with pytest.raises(ExportError, match="damaged"):
        load_classifier(tmp_path / "saved")
