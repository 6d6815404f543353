"""Models whose time or memory depends on their input: refused, sealed or not, unless the user trusts them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from runtime import Classifier, Contract, ImageInput, ModelFileError, seal
from runtime.external import sandbox
from runtime.tflite.model import check_structure
from tests.support.commands import call_pocketlens
from tests.support.external_models import LABELS, converted

pytestmark = pytest.mark.workstation
CONTRACT = Contract(LABELS, ImageInput(8, 8, "rgb"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sandbox, "_known", {})


def model_of(kind: str) -> bytes:
    """A classifier of three labels that computes its scores in some way."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.float32)])  # type: ignore[untyped-decorator]
    def run(x: Any) -> Any:
        scores = tf.reduce_mean(x, (1, 2))
        if kind == "endless":  # on a bright picture
            bright = tf.reduce_max(x) > 0.9
            scores = tf.while_loop(lambda s: bright, lambda s: (s * 1.0,), (scores,))[0]
        elif kind == "tile":
            times = tf.cast(tf.reduce_max(x) * 1e6, tf.int32) + 1
            scores += tf.reduce_mean(tf.tile(scores, tf.stack([times, 1])), 0, keepdims=True)
        elif kind == "where":
            scores += tf.reduce_sum(tf.cast(tf.where(x > 0.5), tf.float32))
        elif kind == "shape of the input":
            scores = tf.reshape(scores, tf.stack([tf.shape(x)[0], 3]))
        return tf.nn.softmax(scores)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([run.get_concrete_function()], run)
    return bytes(converter.convert())


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("endless", r"control flow \(WHILE\)"),
        ("tile", r"computes the shape of a tensor from its input \(TILE\)"),
        ("where", r"computes the shape of a tensor from its input \(WHERE\)"),
    ],
)
def test_they_are_refused_unless_trusted(kind: str, reason: str, tmp_path: Path) -> None:
    content = model_of(kind)
    with pytest.raises(ModelFileError, match=rf"{reason}.*give `trusted=True`"):
        Classifier(content, labels=LABELS, mean=0, std=255)
    assert Classifier(content, labels=LABELS, mean=0, std=255, trusted=True).contract.labels == LABELS
    sealed = seal(content, CONTRACT)
    with pytest.raises(ModelFileError, match=reason):
        Classifier(sealed)
    assert Classifier(sealed, trusted=True).contract == CONTRACT
    path = tmp_path / "model.tflite"
    path.write_bytes(sealed)
    for command in ("info", "bench"):
        done = call_pocketlens(command, path)
        text = done.stdout + done.stderr
        assert re.search(reason, text)
        assert "give --trusted" in text
        assert "Traceback" not in text


def test_shapes_that_follow_from_shapes_are_no_obstacle() -> None:
    assert check_structure(model_of("shape of the input")).unbounded == ""
    assert check_structure(converted(batch=None)).unbounded == ""


def test_doctor_warns(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(seal(model_of("tile"), CONTRACT))
    assert "any time or memory" in call_pocketlens("doctor", path).stdout
