"""`pocketlens bundle`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.bundle.wheels import Wheel
from tests.support.bundles import stub_wheel, use_index, write_index
from tests.support.commands import answer, invoke, run_pocketlens
from tests.support.slots import slot_model

pytestmark = pytest.mark.fast


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "int8.tflite").write_bytes(slot_model())
    return tmp_path


def test_the_targets_are_listed() -> None:
    table = answer("bundle", "--targets")
    assert "rpi-bookworm-armhf  Raspberry Pi OS bookworm, 32-bit  3.11    2.36   tflite-runtime" in table
    assert "numpy: python3-numpy 1.24.2 of the system" in table
    lines = [json.loads(line) for line in answer("bundle", "--targets", "--json").splitlines()]
    assert {line["name"]: line["python"] for line in lines}["rpi-trixie-arm64"] == "3.13"


def test_a_bundle_is_made_and_described(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_index(monkeypatch, write_index(tmp_path / "index"))
    requires = "Provides-Extra: mqtt\nRequires-Dist: paho-mqtt; extra == 'mqtt'\nRequires-Dist: numpy<2\n"
    file, content = stub_wheel("pocketlens", "0.1.0", "py3-none-any", requires)
    (tmp_path / file).write_bytes(content)
    out = tmp_path / "door.tar.gz"
    command = ("bundle", models, "--target", "rpi-bookworm-armhf", "--out", out, "--wheel", tmp_path / file)
    found = json.loads(answer(*command, "--service", "live /dev/video0 --mqtt mqtt://broker", "--json"))
    assert (found["path"], found["bytes"], found["name"]) == (str(out), out.stat().st_size, "door")
    assert found["needs"]["from_system"] == {"numpy": "python3-numpy", "PIL": "python3-pil"}
    assert (found["model"]["selftest"], found["service"]) == (True, "pocketlens-door.service")
    # The service's command needs the extra, so nobody has to ask for it.
    assert {wheel["name"] for wheel in found["wheels"]} == {"paho-mqtt", "pip", "pocketlens"}
    refused = invoke(*command)
    assert (refused.exit_code, refused.stderr) == (
        1,
        f"error: {out}: exists already; name another --out, or give --force\n",
    )


def test_what_was_made_is_told_with_the_next_step(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = [Wheel("click", "8.1", *stub_wheel("click", "8.1", "py3-none-any"))]
    monkeypatch.setattr("exporter.bundle.bundle.own_wheel", lambda _path: None)
    monkeypatch.setattr("exporter.bundle.bundle.find_wheels", lambda *_arguments: wheels)
    (tmp_path / "door.tar.gz").touch()
    command = ("bundle", models, "--target", "rpi-bookworm-armhf", "--out", tmp_path / "door.tar.gz", "--force")
    lines = answer(*command, "--service", "serve").splitlines()
    assert lines[:3] == [
        "  click 8.1",
        *(f"  {name}, from the device's own packages" for name in ("python3-numpy", "python3-pil")),
    ]
    assert lines[-1] == "on the device: tar -xf door.tar.gz && sudo sh door/install.sh --service"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "linux-x86_64"), "--out: missing"),
        (("--out", "door.tar.gz"), "--target: missing"),
        (("--target", "pi", "--out", "door.tar.gz"), "--target is 'pi', expected one of rpi-bookworm-arm64"),
        (("--target", "rpi-trixie-armhf", "--out", "d.tar.gz"), "no interpreter has wheels for 32-bit ARM"),
        (("--target", "linux-x86_64", "--out", "door.zip"), "--out is door.zip, expected a name that ends in .tar.gz"),
        (("--target", "rpi-trixie-arm64", "--python", "3.11", "--out", "d.tar.gz"), "leave out --python"),
        (("--target", "linux-x86_64", "--out", "d.tar.gz", "--service", "classify x"), "a service runs one of live"),
        (("--target", "linux-x86_64", "--out", "d.tar.gz", "--service", "live --no"), "No such option '--no'"),
        (("--target", "linux-x86_64", "--out", "d.tar.gz", "--service", "live 'x"), "No closing quotation"),
        (("--target", "linux-x86_64", "--out", "d.tar.gz", "--service", "update --every 1h"), "add --extra update"),
        (("--target", "linux-x86_64", "--out", "d.tar.gz", "--service", "watch ."), "its absolute path on the device"),
    ],
)
def test_bad_usage_is_answered_in_one_line(models: Path, arguments: tuple[str, ...], message: str) -> None:
    result = invoke("bundle", models, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr.splitlines()[-1]


def test_a_service_has_the_unit_of_its_target(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, object] = {}
    monkeypatch.setattr(
        "exporter.cli.bundle.make_bundle", lambda *_args, **options: made.update(options) or sys.exit(7)
    )
    service = "watch /srv/incoming --webhook http://hub/ --webhook-secret /etc/secret"
    command = (
        "bundle",
        models,
        "--target",
        "rpi-trixie-arm64",
        "--out",
        tmp_path / "door.tar.gz",
        "--service",
        service,
    )
    assert invoke(*command).exit_code == 7
    unit = str(made["unit"])
    start = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    assert start.startswith("ExecStart=/opt/pocketlens-door/current/env/bin/pocketlens watch --journal journal.sqlite")
    assert start.endswith("--model /opt/pocketlens-door/current/model.tflite")
    assert "LoadCredential=webhook-secret:/etc/secret" in unit
    assert "RestartSteps=8" in unit  # trixie's systemd knows it
    assert sys.prefix not in unit


def test_it_starts_without_tensorflow() -> None:
    code = "import sys, exporter.cli.bundle; sys.exit(bool({'tensorflow', 'keras', 'matplotlib'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert run_pocketlens("bundle", "--help").returncode == 0
