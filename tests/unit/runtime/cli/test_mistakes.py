"""Typical mistakes on the command line, and the answers that lead on."""

from __future__ import annotations

import re
import shlex
import zipfile
from pathlib import Path

import click
import pytest
from PIL import Image

import runtime
from runtime.cli.app import LazyGroup
from runtime.cli.classify import COMMAND
from runtime.cli.main import COMMANDS
from runtime.cli.options import parse
from tests.support.commands import call_pocketlens

pytestmark = pytest.mark.fast


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run folder `run`, a folder of models `models`, and `int8.tflite`."""
    monkeypatch.chdir(tmp_path)
    for folder, names in (("run", ("contract.json", "model.keras")), ("models", ("int8.tflite",)), (".", ("l.txt",))):
        Path(folder).mkdir(exist_ok=True)
        for name in names:
            Path(folder, name).write_text("{}")
    Image.new("L", (4, 4)).save("p.png")
    Path("k").mkdir()
    Path("runs/digits").mkdir(parents=True)
    Path("runs/digits/contract.json").write_text("{}")
    Path("k/contract.json").write_text("{}")
    with zipfile.ZipFile("k/model.keras", "w") as archive:
        archive.writestr("model.weights.h5", b"")
    Path("int8.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(40))


@pytest.mark.workstation
@pytest.mark.parametrize(
    ("line", "status", "answer"),
    [
        ("clasify", 2, "No such command 'clasify'; did you mean 'classify'?"),
        ("show pets", 2, "No such command 'show'; did you mean 'data show'?"),
        ("data pets", 2, "No such command 'pets'; did you mean 'data show pets'?"),
        ("train --lr 0.1 --dataset digits --out o", 2, "No such option '--lr'; did you mean '--learning-rate'?"),
        ("classify --min_score 0.5 x.jpg", 2, "No such option '--min_score'; did you mean '--min-score'?"),
        ("train -dataset digits -out o", 2, "No such option '-dataset'; did you mean '--dataset'?"),
        ("train digits", 2, "Missing options '--out', '--dataset'; did you mean '--dataset digits'?"),
        ("train --dataset digits", 2, "Missing option '--out'."),
        ("classify -m int8.tflite x.jpg", 2, "No such option '-m'; did you mean '--model'?"),
        ("export --model run --out o", 2, "No such option '--model': give RUN|MODEL without an option."),
        ("data show --dataset digits", 2, "No such option '--dataset': give NAME|DIR|CSV without an option."),
        ("predict x.jpg", 2, "No such command 'predict'; did you mean 'classify'?"),
        ("help", 2, "No such command 'help'; did you mean '--help'?"),
        ("classify --top all x.jpg", 2, "'all', expected a whole number, at least 1"),
        ("classify --min-score 60% x.jpg", 2, "'60%', expected a number from 0 to 1; 60 % is 0.6"),
        ("classify --min-score 60 x.jpg", 2, "'60', expected a number from 0 to 1; 60 % is 0.6"),
        ("classify --min-score nan x.jpg", 2, "'nan', expected a number from 0 to 1"),
        ("classify --min-score 0,6 x.jpg", 2, "'0,6', expected a number from 0 to 1; did you mean 0.6?"),
        ("classify --min-score -1 x.jpg", 2, "'-1', expected a number from 0 to 1"),
        ("search", 2, "--dataset and --out are needed; as in: pocketlens search --dataset digits"),
        ("search --dataset digits --out o --max-memory 2MB", 2, "add its profile with --budget"),
        ("search --dataset digits --out o --budget l.txt", 1, "l.txt: no device profile; name a file that"),
        ("search --dataset nowhere --out o", 1, "nowhere: no such folder or file, and no data set of that name"),
        ("search --dataset digits --out o --augment mixup", 2, "'mixup', expected shift, flip, erase, colour"),
        ("search finish run --out o", 1, "run: no search: it has no plan.json; name the folder of a search"),
        ("export run --out o --max-bytes 10kX", 2, "'10kX' is no number of bytes; give one such as 500MB"),
        ("watch --interval 500ms .", 2, "'500ms', expected a number from 0.01 to 86,400"),
        ("train --dataset digits --out o --seed abc", 2, "'abc', expected a whole number, at least 0"),
        ("train --dataset digits --out o --minutes 0", 2, "'0', expected a number above 0"),
        ("train --dataset digits --out o --colour gray", 2, "not one of 'grey', 'rgb'; did you mean 'grey'?"),
        ("evaluate run --split val", 2, "; did you mean 'validation'?"),
        ("export p.png --out o", 1, "p.png: an image (PNG), no run folder"),
        ("export l.txt --out o", 1, "l.txt: a text file, no run folder"),
        ("export k/model.keras --out o", 2, "is the Keras model of a run folder; export that: k"),
        ("info k/model.keras", 1, "the Keras model of a run folder; export that: pocketlens export k"),
        ("export runs --out o", 1, "it has no contract.json; did you mean 'runs/digits'?"),
        ("export run --out run", 2, "run is a run folder; name another folder with --out, such as models/run"),
        ("evaluate digits", 1, "digits: no such file or folder, no run folder; make one with"),
        ("classify --from-file p.png", 1, "p.png: not a list of paths, one a line, but an image (PNG)"),
        ("watch --model int8.tflite --exec 'echo > log' .", 2, "'>' is for a shell, and the command runs without one"),
        (
            "train --dataset digits --out o --learning-rate 0",
            2,
            "learning rate 0.0, expected a number above 0, at most 10",
        ),
        ("train --dataset digits --out o --image-size 0", 2, "'0', expected a height and width from 1 to 4096 pixels"),
        ("train --dataset digits --out o --augment none,flip", 2, "'none,flip': none stands alone"),
        ("train --dataset digits --out o --minutes 1e9", 2, "'1e9', expected a number above 0, at most 100,000"),
        ("train --dataset digits --out o --model-file l.txt", 1, "l.txt: no such Python file (.py); expected one with"),
        ("data show circles --image-size 8", 1, "circles holds features: --image-size is for images"),
        ("data show digits --plot grid.jpg", 2, "'grid.jpg', expected a name that ends in .png"),
        ("compare run run --out compare", 2, "'compare', expected a name that ends in .png"),
        ("evaluate run --html look", 2, "'look', expected a name that ends in .html"),
        ("export int8.tflite --out o", 1, "int8.tflite: a TensorFlow Lite model, no run folder; `pocketlens info`"),
        ("export models --out o", 1, "models: a folder of exported models, no run folder; name the run folder"),
        ("export run --labels l.txt --out o", 2, "run is a run folder, which holds its labels, images and preproc"),
        ("inspect int8.tflite", 1, "int8.tflite: a TensorFlow Lite model, no run folder; `pocketlens info` and"),
        ("compare models run", 2, "models: a model file has no figures with it; name images with --dataset"),
        ("evaluate models", 1, "models: a folder of exported models; name one of them: models/int8.tflite"),
        ("evaluate l.txt", 1, "l.txt: not a TensorFlow Lite model, but a text file; name a .tflite file"),
        ("train --dataset run --out o", 1, "run: a run folder, and no data set"),
        ("data show l.txt", 1, "l.txt: a text file, and no data set"),
        ("watch --model run .", 1, "run: a run folder; export it first: pocketlens export run"),
        ("bench run", 1, "run: a run folder; export it first: pocketlens export run"),
    ],
)
@pytest.mark.usefixtures("places")
def test_what_a_mistake_is_answered(line: str, status: int, answer: str) -> None:
    done = call_pocketlens(*shlex.split(line))
    assert done.returncode == status, done.stderr
    assert answer in " ".join(done.stderr.split())
    assert not Path("o").exists()


@pytest.mark.usefixtures("places")
def test_doctor_says_what_stands_in_the_place_of_a_model() -> None:
    done = call_pocketlens("doctor", "p.png")
    assert done.returncode == 1
    assert "p.png: not a TensorFlow Lite model, but an image (PNG)\n         cure: name a .tflite file" in done.stdout


def test_choices_are_taken_in_any_case() -> None:
    values = parse(COMMAND, ["--scores", "SoftMax", "--interpreter", "AUTO", "x.jpg"])
    assert values is not None
    assert (values["scores"], values["interpreter"]) == ("softmax", "auto")
    assert parse(COMMAND, ["--scores", "softmin", "x.jpg"]) is None


@pytest.mark.workstation
@pytest.mark.parametrize(
    "line",
    [
        "train --optimizer Adam --loss sparse_categorical_crossentropy",
        "export x --mode INT8 --target TFLite_runtime_2.14",
        "evaluate x --split Test",
    ],
)
def test_click_takes_choices_in_any_case_with_dashes_or_underscores(line: str) -> None:
    done = call_pocketlens(*line.split())
    assert "not one of" not in done.stderr
    assert "Invalid value" not in done.stderr


def test_no_class_of_click_is_generic_at_run_time() -> None:
    """click 8.1, which Debian has, raises TypeError on `click.ParamType[Any]`, so that no command would start."""
    sources = [*Path(runtime.__file__).parent.rglob("*.py")]
    assert len(sources) > 50
    assert not [path for path in sources if re.search(r"^class .*click\.\w+\[", path.read_text(), re.MULTILINE)]


@pytest.mark.workstation
@pytest.mark.parametrize("command", COMMANDS)
def test_lines_of_help_do_not_break_within_a_word(command: str) -> None:
    found = LazyGroup("pocketlens", lazy=COMMANDS).get_command(click.Context(click.Group()), command)
    assert found is not None
    with found.context_class(found, info_name=command, terminal_width=80) as context:
        lines = found.get_help(context).splitlines()
    broken = [line for line in lines if re.search(r"\w-$", line)]
    assert not broken


@pytest.mark.workstation
def test_defaults_of_train_are_in_its_help() -> None:
    text = " ".join(call_pocketlens("train", "--help").stdout.split())
    assert "0: never. [default: a third of all, half with efficientnet_lite0, at least 8]" in text
    assert "lose too much accuracy by it. [default: no]" in text
