"""The programs in `examples/` run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from runtime import Classifier
from tests.support.broker import running_broker
from tests.support.commands import ROOT
from tests.support.exports import Exported, Samples

EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "lessons.ipynb"


def run(name: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "GPIOZERO_PIN_FACTORY": "mock"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def cells() -> list[str]:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_every_example_is_in_the_list() -> None:
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(
        f"[{path.name}]({path.name})" in listed for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")
    )


def test_a_folder_is_classified(digits_export: Exported, digits_samples: Samples, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for file in digits_samples.files[:5]:
        shutil.copy(file, tmp_path / "photos")
    (tmp_path / "photos/broken.png").write_bytes(b"no image")
    done = run("classify_folder.py", digits_export.int8, "photos", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 6
    assert "broken.png" in done.stderr


@pytest.fixture
def scene(digits_export: Exported, digits_samples: Samples, tmp_path: Path) -> list[str]:
    """Two labels; in the working folder are six pictures of the one, and then six of the other."""
    with Classifier(digits_export.int8) as classifier:
        labels = [classifier.classify(file)[0].label for file in digits_samples.files]
    other = next(number for number, label in enumerate(labels) if label != labels[0])
    for number in range(12):
        shutil.copy(digits_samples.files[0 if number < 6 else other], tmp_path / f"{number:02}.png")
    return [labels[0], labels[other]]


def test_a_lamp_follows_a_camera(scene: list[str], digits_export: Exported, tmp_path: Path) -> None:
    pytest.importorskip("gpiozero")
    done = run("led.py", digits_export.int8, scene[0], "*.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{scene[0]} lamp on", f"{scene[1]} lamp off"]


def test_a_web_server_hears_of_changes(scene: list[str], digits_export: Exported, tmp_path: Path) -> None:
    heard: list[str] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["label"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = run("webhook.py", digits_export.int8, "*.png", f"http://127.0.0.1:{server.server_port}/", cwd=tmp_path)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert heard == scene


def test_a_broker_hears_of_changes(scene: list[str], digits_export: Exported, tmp_path: Path) -> None:
    pytest.importorskip("paho.mqtt")
    with running_broker(tmp_path / "broker") as broker:
        done = run("door_to_mqtt.py", digits_export.int8, "*.png", f"{broker.url}/door", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        told = broker.retained("door")
    assert told is not None
    assert json.loads(told)["label"] == scene[1]


def test_what_is_uncertain_is_kept(scene: list[str], digits_export: Exported, tmp_path: Path) -> None:
    done = run("keep_uncertain.py", digits_export.int8, "*.png", "kept", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == scene
    kept = list((tmp_path / "kept").glob("*.json"))
    assert kept
    assert all(path.with_suffix(".jpg").exists() for path in kept)


def test_mock_pins_are_switched(digits_export: Exported, digits_samples: Samples, tmp_path: Path) -> None:
    for label, expected in ((str(digits_samples.targets[1]), "lamp on\n"), ("none such", "lamp off\n")):
        done = run("gpio.py", digits_export.int8, digits_samples.files[1], label, "--once", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout == expected
    assert run("gpio.py", digits_export.int8, "not-there-yet.jpg", "8", "--once", cwd=tmp_path).stdout == ""


def test_a_lamp_is_switched_by_a_watch(tmp_path: Path) -> None:
    for arguments in (("8", "0.93"), ("8", "0.5"), ("3", "0.99")):
        assert run("act.py", *arguments, cwd=tmp_path).returncode == 0
    assert (tmp_path / "lamp.txt").read_text() == "on 8 0.93\noff 8 0.50\noff 3 0.99\n"


def test_the_service_answers(digits_export: Exported, digits_samples: Samples) -> None:
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / "service.py"), str(digits_export.int8), "0"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as service:
        try:
            assert service.stdout is not None
            port = service.stdout.readline().split()[-1]
            answer = _post(port, digits_samples.files[1].read_bytes())
            assert answer["predictions"][0]["label"] == str(digits_samples.targets[1])
            with pytest.raises(urllib.error.HTTPError) as refused:
                _post(port, b"no image")
            assert refused.value.code == 400
            refused.value.close()
        finally:
            service.terminate()


def _post(port: str, body: bytes) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}", data=body, timeout=30) as response:
        return json.load(response)


def test_the_notebook_is_clean() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    assert all(not cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    for number, text in enumerate(cells()):
        compile(text, f"cell {number}", "exec")


@pytest.mark.slow
@pytest.mark.workstation
def test_the_notebook_runs(tmp_path: Path) -> None:
    """As plain Python, in a process of its own: TensorFlow is imported there first."""
    binaries = str(Path(sys.executable).parent)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(cells())],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MPLBACKEND": "Agg",
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "every gate was passed: True" in done.stdout
    assert "Ankle boot" in done.stdout.partition("true label:")[2]


def test_resnet8_is_the_network_of_the_benchmark() -> None:
    from trainer.models.custom import build_custom

    network = build_custom(str(EXAMPLES / "resnet8.py"), (32, 32, 3), 10, "multiclass")
    assert network.count_params() == 78_666  # as its authors publish it
