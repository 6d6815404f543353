"""Vectors of features as input: contract, tensor and calls."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from runtime import (
    Classifier,
    Contract,
    ContractError,
    FeaturesError,
    FeaturesInput,
    ImageError,
    ImageInput,
    InputError,
    ModelFileError,
    TensorSpec,
    make_preprocessor,
)
from runtime.features import MAX_FEATURE_DEVIATIONS, load_vector
from runtime.model_file import ModelFile
from runtime.preprocessing import FeaturePreprocessor
from runtime.selftest.format import GoldenOutputs, SelfTest, read_selftest
from runtime.testing import FakeInterpreter

pytestmark = pytest.mark.fast

SPEC = FeaturesInput(("temperature", "pressure"), mean=(20.5, 101_325.0), std=(5.0, 800.0))
CONTRACT = Contract(("fair", "storm"), SPEC)


def tensor(dtype: type, scale: float = 0.0, zero_point: int = 0) -> TensorSpec:
    return TensorSpec((1, 2), np.dtype(dtype), scale, zero_point)


def test_the_contract_round_trips() -> None:
    assert Contract.from_json(CONTRACT.to_json()) == CONTRACT
    assert json.loads(CONTRACT.to_json())["input"] == {
        "names": ["temperature", "pressure"],
        "mean": [20.5, 101325.0],
        "std": [5.0, 800.0],
        "kind": "features",
    }
    assert CONTRACT.input.shape == (2,)
    assert FeaturesInput(("x",)) == FeaturesInput(("x",), (0,), (1,))


def test_what_is_for_images_says_so() -> None:
    with pytest.raises(ContractError, match=r"takes 2 features \(temperature, pressure\)"):
        _ = CONTRACT.image_input
    picture = Contract(("a", "b"), ImageInput(8, 8))
    assert picture.image_input is picture.input


@pytest.mark.parametrize(
    ("field", "value", "names"),
    [
        ("kind", "sound", "image, features"),
        ("kind", ["features"], "kind"),
        ("kind", None, "kind"),
        ("names", [], "names"),
        ("names", "xy", "names"),
        ("names", ["x", "x"], "distinct"),
        ("names", ["x", 3], "name"),
        ("names", ["x", ""], "name"),
        ("names", ["x", " y"], "name"),
        ("names", ["x", "y\x1b[31m"], "name"),
        ("names", [f"f{i}" for i in range(4097)], "names"),
        ("mean", [0.0], "mean"),
        ("mean", [0.0, float("nan")], "mean"),
        ("mean", [0.0, 1e31], "mean"),
        ("mean", [0.0, True], "mean"),
        ("std", [1.0, 0.0], "std"),
        ("std", [1.0, -1.0], "std"),
        ("std", [1.0, "1"], "std"),
        ("std", [1.0, 1.0, 1.0], "std"),
        ("height", 8, "height"),
    ],
)
def test_a_field_out_of_range_is_named(field: str, value: Any, names: str) -> None:
    document = json.loads(CONTRACT.to_json())
    document["input"][field] = value
    with pytest.raises(ContractError, match=names):
        Contract.from_json(json.dumps(document))


def test_fields_of_the_other_kind_are_unknown() -> None:
    document = json.loads(CONTRACT.to_json())
    document["input"]["kind"] = "image"
    with pytest.raises(ContractError, match="unknown field 'names'"):
        Contract.from_json(json.dumps(document))


def test_float_is_standardised_and_double_until_the_end() -> None:
    spec = FeaturesInput(("time",), mean=(1.7e9,), std=(0.5,))
    prepare = make_preprocessor(spec)
    assert isinstance(prepare, FeaturePreprocessor)
    assert not prepare.feeds_raw_pixels
    found = prepare([1.7e9 + 0.25])
    assert found.dtype == np.float32
    assert found.tolist() == [[0.5]]  # float32 alone knows 1.7e9 to 128


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_one_scale_serves_features_of_any_unit(dtype: type) -> None:
    target = tensor(dtype, 0.025, 120 if dtype is np.uint8 else -8)
    vectors = np.random.default_rng(0).normal(SPEC.mean, SPEC.std, (500, 2))
    standard = (vectors - SPEC.mean) / SPEC.std
    inside = np.abs(standard).max(axis=1) < 3
    stored = make_preprocessor(SPEC, target).scale(vectors)
    assert stored.dtype == dtype
    assert np.abs(target.dequantize(stored) - standard)[inside].max() <= 0.0126


def test_what_lies_beyond_the_tensors_range_is_clipped() -> None:
    prepare = make_preprocessor(SPEC, tensor(np.int8, 0.02, 10))
    assert prepare([200.0, 0.0]).tolist() == [[127, -128]]


@pytest.mark.parametrize("spec", [tensor(np.int32), tensor(np.float64), tensor(np.uint8, 0.0)])
def test_tensors_that_no_vector_fits_are_refused(spec: TensorSpec) -> None:
    with pytest.raises(ModelFileError):
        make_preprocessor(SPEC, spec)


@pytest.mark.parametrize(
    "values",
    [
        [21, 101_000],
        (21.0, 101_000),
        np.array([21, 101_000]),
        np.array([21, 101_000], np.float32),
        {"pressure": 101_000, "temperature": 21},
        [np.float32(21), np.int64(101_000)],
    ],
)
def test_a_vector_in_every_form(values: Any) -> None:
    found = load_vector(values, SPEC)
    assert found.dtype == np.float64
    assert found.tolist() == [21.0, 101_000.0]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1], "1 values, expected 2 features (temperature, pressure)"),
        ([1, 2, 3], "3 values"),
        ([], "0 values"),
        ([[1, 2]], "an array of shape (1, 2)"),
        ([[1, 2], [3]], "lists of different lengths"),
        (np.zeros((8, 8), np.uint8), "an array of shape (8, 8)"),
        (np.float64(1), "float64"),
        (None, "a NoneType"),
        ("shoe.jpg", "a str"),
        (b"\xff\xd8\xff", "a bytes"),
        (["1", "2"], "'1' is no number"),
        ([1, None], "None is no number"),
        ([1, 2j], "2j is no number"),
        ([1, 10**400], "is no number"),
        ({"temperature": 1}, "no value for 'pressure'"),
        ({"temperature": 1, "pressure": 2, "wind": 3}, "unknown feature 'wind'"),
        ({"temperature": "1", "pressure": 2}, "'1' is no number"),
        ([1, float("nan")], "pressure is nan, expected a number"),
        ([float("-inf"), 1], "temperature is -inf"),
        ([1e300, 1], f"temperature is 1e+300, more than {MAX_FEATURE_DEVIATIONS:,.0f} standard deviations"),
    ],
)
def test_what_is_no_vector_is_refused_and_told(values: Any, words: str) -> None:
    with pytest.raises(FeaturesError) as caught:
        load_vector(values, SPEC)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_classifier_takes_vectors() -> None:
    fake = FakeInterpreter(["dry", "wet"], [[0.9, 0.1], [0.2, 0.8]], features=("moisture", "light"))
    classifier = fake.classifier()
    assert classifier.classify([0.25, 3])[0].label == "dry"
    assert classifier.classify({"light": 3, "moisture": 0.25})[0].label == "wet"
    assert [tensor.tolist() for tensor in fake.inputs] == [[[0.25, 3.0]]] * 2
    with pytest.raises(FeaturesError, match=r"2 features \(moisture, light\)"):
        classifier.classify("shoe.jpg")


def test_a_batch_gives_errors_in_their_place() -> None:
    classifier = FakeInterpreter(["dry", "wet"], [[0.9, 0.1]], features=("moisture",)).classifier()
    found = list(classifier.classify_batch([[1], [float("nan")], [2]], workers=1, return_errors=True))
    assert [isinstance(answer, FeaturesError) for answer in found] == [False, True, False]
    with pytest.raises(FeaturesError):
        list(classifier.classify_batch([[1, 2]]))


def test_a_model_of_pictures_refuses_vectors() -> None:
    classifier = FakeInterpreter(["cat", "dog"], [[0.9, 0.1]]).classifier()
    for wrong in ([0.5, 2.0], {"x": 1}):
        with pytest.raises(ImageError, match="expected a path") as caught:
            classifier.classify(wrong)
        assert isinstance(caught.value, InputError)


def stored(images: np.ndarray[Any, Any]) -> bytes:
    answers = GoldenOutputs("tflite_runtime", "2.14.0", "x86_64", np.zeros((len(images), 2), np.uint8))
    return SelfTest(images, (answers,), 0.0, 0.1).to_json()


def selftest_of(text: bytes, monkeypatch: pytest.MonkeyPatch) -> SelfTest:
    monkeypatch.setattr(ModelFile, "member", lambda *_arguments: text)
    return read_selftest(ModelFile(b"", CONTRACT, "m.tflite"))


def test_golden_vectors_are_stored_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.array([[20.1, 101_300.7], [25.0, 100_000.0]])
    found = selftest_of(stored(vectors), monkeypatch)
    np.testing.assert_array_equal(found.images, vectors)
    assert found.images.dtype == np.float64


@pytest.mark.parametrize(
    "vectors",
    [np.zeros((1, 3)), np.zeros((9, 2)), np.zeros((0, 2)), np.full((1, 2), np.nan), np.zeros((1, 2), np.uint8)],
)
def test_golden_vectors_that_cannot_be_are_refused(
    vectors: np.ndarray[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelFileError, match="self-test"):
        selftest_of(stored(vectors), monkeypatch)


def test_the_tensors_shape_must_be_the_contracts() -> None:
    fake = FakeInterpreter(["a", "b"], [[1, 0]], features=("x",))
    with pytest.raises(ModelFileError, match="input of shape"):
        Classifier.from_interpreter(CONTRACT, lambda: fake)


@pytest.mark.parametrize("digits", [400, 5000])
def test_numbers_of_many_digits_are_errors_of_ours(digits: int) -> None:
    huge = 10**digits  # Python refuses to print the larger one
    with pytest.raises(FeaturesError, match=r"^features: (10*|a int that cannot be printed) is no number"):
        load_vector([huge, 1.0], FeaturesInput(("a", "b")))
    with pytest.raises(ContractError, match="contract: input mean is"):
        FeaturesInput(("a", "b"), (huge, 1.0), (1.0, 1.0))
