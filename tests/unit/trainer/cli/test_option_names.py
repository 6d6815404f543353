"""The library names parameters in its messages; a command shows the options that stand for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import invoke
from trainer.cli.options import OPTION_NAMES, TRAINING_OPTIONS

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("dataset", "options", "words"),
    [
        ("digits", ("--cache", "none"), "--cache is for image files; digits has none"),
        ("digits", ("--data-dir", "x"), "--data-dir is for fashion-mnist; digits does not read it"),
        (
            "circles",
            ("--image-size", "8"),
            "circles holds features: --image-size is for images",
        ),
        ("digits", ("--merge", "0=1"), "--merge '0=1': expected two or more classes and a name"),
        ("digits", ("--merge", "0,1=9"), "--merge: the name '9' is that of a class which is not merged"),
        ("digits", ("--positive", "11"), "--positive '11': no such class"),
        ("digits", ("--positive", "1", "--task", "multiclass"), "the task binary, and --task is multiclass"),
        (
            "digits",
            ("--loss", "binary-crossentropy"),
            "does not go with --task multiclass, whose network ends in a softmax",
        ),
        ("circles", ("--loss", "categorical-crossentropy"), "use binary-crossentropy or focal"),
        (
            "digits",
            ("--loss", "sparse-categorical-crossentropy", "--label-smoothing", "0.1"),
            "use --loss categorical-crossentropy, not sparse-",
        ),
        ("digits", ("--train-samples", "0"), "train samples 0, expected a whole number from 1 on"),
        ("digits", ("--momentum", "1", "--optimizer", "sgd"), "momentum 1.0, expected a number from 0 to below 1"),
        ("circles", ("--scaling", "unit"), "--scaling unit is for pixels, and circles has 2 features (x, y)"),
        ("circles", ("--scaling", "inside"), "--scaling inside is for pixels, and circles has 2 features (x, y)"),
        (
            "digits",
            ("--arch", "mobilenet_v2", "--weights", "none", "--scaling", "unit"),
            "--scaling unit is for other networks",
        ),
        ("digits", ("--task", "binary"), "--task binary: digits has 10 classes"),
        ("digits", ("--task", "multilabel"), "path,label;label, see --dataset"),
    ],
)
def test_a_refusal_names_the_options(dataset: str, options: tuple[str, ...], words: str, tmp_path: Path) -> None:
    result = invoke("train", "--dataset", dataset, *options, "--out", tmp_path / "run")
    out_of_range = ("train samples", "momentum", "use --loss cat", "--scaling unit is for other networks")
    assert result.exit_code == (2 if words.startswith(out_of_range) else 1)
    assert words in result.stderr.splitlines()[-1]
    assert "`" not in result.stderr.splitlines()[-1]


def test_every_option_is_declared_once() -> None:
    names = [option.parameter for option in TRAINING_OPTIONS]
    assert len(set(names)) == len(names)
    assert not OPTION_NAMES.keys() & set(names), "an option's own name needs no other"
