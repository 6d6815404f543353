"""Options that mean nothing for the network that was chosen are refused, not passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import call_pocketlens

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--units", "256"), "--units is for --arch dense; --arch auto has no use for it"),
        (("--arch", "dense", "--size", "large"), "--size is for --arch cnn; --arch dense"),
        (("--arch", "cnn", "--head-epochs", "3"), "--head-epochs is for --arch efficientnet_lite0, mobilenet_v2"),
        (("--size", "tiny", "--weights", "bundled"), "--weights is for --arch efficientnet_lite0, mobilenet_v2"),
        (("--arch", "mobilenet_v2", "--weights", "none", "--fine-tune-layers", "3"), "--weights none trains it whole"),
        (("--optimizer", "sgd", "--weight-decay", "0.9"), "--weight-decay is for --optimizer adamw; sgd has none"),
        (("--optimizer", "adam", "--momentum", "0.9"), "--momentum is for --optimizer sgd; adam has its own"),
        (("--arch", "dense", "--units", "none", "--activation", "elu"), "--units none has none"),
        (("--no-normalise", "--scaling", "unit"), "--scaling says how the input is scaled; leave --no-normalise out"),
        (("--no-normalise", "--scaling", "inside"), "--scaling says how the input is scaled; leave --no-normalise out"),
        (("--arch", "cnn", "--model-file", "mine.py"), "leave one of them out"),
        (("--model-file", "mine.py", "--activation", "elu"), "--model-file has no use for it"),
        (("--quantization-aware", "--distribute", "mirrored"), "leave --distribute out"),
    ],
)
def test_an_option_without_use_is_bad_usage(options: tuple[str, ...], told: str, tmp_path: Path) -> None:
    result = call_pocketlens("train", "--dataset", tmp_path / "none", *options, "--out", tmp_path / "run")
    assert result.returncode == 2
    assert told in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_features_choose_the_network_that_the_options_are_for(tmp_path: Path) -> None:
    quick = ("--dataset", "circles", "--epochs", "1")
    assert call_pocketlens("train", *quick, "--units", "4", "--out", tmp_path / "run").returncode == 0
    wrong = call_pocketlens("train", *quick, "--arch", "dense", "--fine-tune-layers", "2", "--out", tmp_path / "no")
    assert wrong.returncode == 1
    assert "--fine-tune-layers is for images" in wrong.stderr
