"""Pixels reach the tensor of a model that others made without being clipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import Classifier, Contract, ContractError, ImageInput
from tests.support.commands import run_pocketlens, succeed
from tests.support.external_models import LABELS, changed, converted, metadata, with_metadata

PICTURE = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
LABELS_TXT = "".join(f"{label}\n" for label in LABELS).encode()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))


def described(kind: str, mean: float, std: float) -> bytes:
    return with_metadata(converted(kind), metadata([mean], [std], 1), {"labels.txt": LABELS_TXT})


def stored(classifier: Classifier) -> np.ndarray[Any, np.dtype[Any]]:
    offset = 128 if classifier.input.dtype == np.int8 else 0
    return np.asarray(classifier.preprocessor(PICTURE)[0].astype(int) + offset)


@pytest.mark.parametrize("kind", ["uint8", "int8"])
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.0, 255.0), (127.5, 1.0), (0.5, 0.5), (127.5, 30.0)])
def test_metadata_that_does_not_fit_the_quantization_is_passed_over(kind: str, mean: float, std: float) -> None:
    classifier = Classifier(described(kind, mean, std))
    np.testing.assert_array_equal(stored(classifier), PICTURE)
    raw = Classifier(converted(kind), labels=LABELS)
    np.testing.assert_array_equal(classifier.scores(PICTURE), raw.scores(PICTURE))
    (note,) = classifier.notes
    assert f"mean {mean:g} and std {std:g} do not fit its quantization (scale 0.00784" in note


def test_metadata_near_the_identity_counts() -> None:
    classifier = Classifier(described("uint8", 125.0, 127.5))
    assert classifier.contract.image_input.mean == (125,) * 3
    assert classifier.notes == ()


@pytest.mark.parametrize("kind", ["uint8", "int8"])
@pytest.mark.parametrize(
    ("mean", "std", "what"),
    [
        (0, 1, "of the 256 pixel values would be clipped"),
        (127.5, 58, "of the 256 pixel values would be clipped"),
        ((127.5, 127.5, 0), (127.5, 127.5, 127.5), "127 of the 256"),
        (127.5, 10_000, "the 256 pixel values would become 5"),
    ],
)
def test_options_that_lose_the_pixels_are_refused(kind: str, mean: Any, std: Any, what: str) -> None:
    with pytest.raises(
        ContractError, match=f"mean .* and std .*{kind.upper()} input .scale 0.0078.*zero point.*{what}"
    ):
        Classifier(converted(kind), labels=LABELS, mean=mean, std=std)
    spec = ImageInput(8, 8, mean=np.broadcast_to(mean, 3).tolist(), std=np.broadcast_to(std, 3).tolist())
    with pytest.raises(ContractError, match=what):
        Classifier(converted(kind), contract=Contract(LABELS, spec))


@pytest.mark.parametrize(("mean", "std"), [(127.5, 127.5), (128, 128), (127.5, 125), (0, 255), (127.5, 1000)])
def test_options_that_keep_the_pixels_are_obeyed(mean: float, std: float) -> None:
    spec = Classifier(converted("uint8"), labels=LABELS, mean=mean, std=std).contract.image_input
    assert (spec.mean, spec.std) == ((mean,) * 3, (std,) * 3)


def test_the_step_of_the_tensor_counts_and_not_its_name() -> None:
    """A tensor that holds pixel values as real numbers: dividing them by 255 leaves two of them."""

    def real_pixels(model: Any) -> None:
        given = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
        given.quantization.scale, given.quantization.zeroPoint = [1.0], [0]

    content = changed(converted("uint8"), real_pixels)
    with pytest.raises(ContractError, match="the 256 pixel values would become 2"):
        Classifier(content, labels=LABELS, mean=0, std=255)
    assert Classifier(content, labels=LABELS).preprocessor.feeds_raw_pixels


@pytest.mark.parametrize(
    ("mean", "std", "meant"),
    [
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), r"123\.675, 116\.28, 103\.53 and 58\.395, 57\.12, 57\.375"),
        (0.5, 0.5, r"127\.5 and 127\.5"),
        (0, 1 / 255, r"0 and 1\?"),
    ],
)
def test_a_mean_between_0_and_1_is_refused(mean: Any, std: Any, meant: str) -> None:
    with pytest.raises(ContractError, match=rf"pixel units \(0 to 255\); did you mean {meant}"):
        Classifier(converted(), labels=LABELS, mean=mean, std=std)


def test_pixels_as_they_are_suit_a_float_input() -> None:
    assert Classifier(converted(), labels=LABELS, mean=0, std=1).contract.image_input.std == (1,) * 3


def test_info_shows_what_becomes_of_the_pixels(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(described("uint8", 0, 1))
    text = succeed(run_pocketlens("info", path)).stdout
    assert "pixels    0 becomes 0, 128 becomes 128, 255 becomes 255 in the tensor" in text
    assert "note      the pixels go in as they are: its metadata's mean 0 and std 1" in text
    path.write_bytes(converted())
    options = ("--labels", "labels.txt", "--mean", "0,127.5,127.5", "--std", 127.5)
    (tmp_path / "labels.txt").write_bytes(LABELS_TXT)
    found = json.loads(succeed(run_pocketlens("info", "--json", *options, path.name, cwd=tmp_path)).stdout)
    assert found["pixels"]["255"] == [2, 1, 1]
    assert set(found["pixels"]) == {"0", "128", "255"}


def test_the_command_names_its_options(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(LABELS_TXT)
    (tmp_path / "m.tflite").write_bytes(converted("uint8"))
    refused = run_pocketlens(
        *("classify", "--model", "m.tflite", "--labels", "labels.txt", "--mean", 0, "--std", 1, "x.png"), cwd=tmp_path
    )
    assert refused.returncode == 1
    assert "leave out --mean and --std, and the pixels go in as they are" in refused.stderr
