"""`pocketlens service` with a systemctl that writes down what it is called with."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from runtime.service_unit import UNIT_MARK
from tests.support.commands import answer, invoke
from tests.support.slots import filled_slot, slot_model

pytestmark = pytest.mark.fast

#: Fails for the words in `$FAILS`.
SYSTEMCTL = """#!{python}
import os, sys
words = sys.argv[1:]
with open(os.environ["CALLS"], "a") as calls:
    calls.write(" ".join(words) + "\\n")
if words == ["--version"]:
    print("systemd 257 (257.1)")
elif "--property=Version" not in words and "show" in words:
    print("ActiveState=" + os.environ.get("STATE", "active"))
    print("StatusText=3 answered\\nNRestarts=2\\nMemoryCurrent=1000\\nResult=success")
if os.environ.get("FAILS", "-") in words:
    sys.exit("Job failed.")
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and a folder of images, in which the command runs, and a systemctl."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/systemctl"
    program.write_text(SYSTEMCTL.format(python=sys.executable))
    program.chmod(0o755)
    (tmp_path / "incoming").mkdir()
    (tmp_path / "int8.tflite").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("USER", "nobody-here")
    monkeypatch.chdir(tmp_path)
    return tmp_path


WATCH = ("watch", "--model", "int8.tflite", "incoming")


def calls(home: Path) -> list[str]:
    path = home / "calls"
    return path.read_text().splitlines() if path.exists() else []


def command_of(unit: str) -> list[str]:
    (line,) = (line for line in unit.splitlines() if line.startswith("ExecStart="))
    words = shlex.split(line.removeprefix("ExecStart="))
    return words[next(place for place, word in enumerate(words) if word in ("watch", "serve", "live", "update")) :]


def printed(*words: str) -> str:
    return answer("service", "install", "--name", "door", "--print", "--", *words)


def test_install_writes_enables_and_starts_and_remove_undoes_it(home: Path) -> None:
    said = json.loads(answer("service", "install", "--name", "door", "--user", "--json", "--", *WATCH))
    unit = home / "config/systemd/user/pocketlens-door.service"
    assert said == {"name": "door", "unit": unit.name, "path": str(unit)}
    assert unit.read_text().startswith(UNIT_MARK)
    assert calls(home)[-3:] == [
        "--user daemon-reload",
        "--user enable pocketlens-door.service",
        "--user restart pocketlens-door.service",
    ]
    assert [path.name for path in unit.parent.iterdir()] == [unit.name]
    answer("service", "install", "--name", "door", "--user", "--", *WATCH)  # again replaces it
    assert "door" in answer("service", "status", "--user")
    answer("service", "remove", "--name", "door", "--user", "--purge")
    assert not unit.exists()
    assert calls(home)[-3:] == [
        "--user disable --now pocketlens-door.service",
        "--user clean --what=state --what=cache pocketlens-door.service",
        "--user daemon-reload",
    ]


def test_print_writes_and_starts_nothing(home: Path) -> None:
    text = printed(*WATCH)
    assert "DynamicUser=yes" in text
    assert calls(home) == ["--version"]
    assert not (home / "config").exists()
    said = json.loads(answer("service", "install", "--name", "door", "--print", "--json", "--", *WATCH))
    assert said == {"path": "/etc/systemd/system/pocketlens-door.service", "unit": text}


def test_paths_are_absolute_and_the_journal_lies_in_the_state(home: Path) -> None:
    found = command_of(printed("watch", "--model=int8.tflite", "incoming"))
    assert found == ["watch", "--journal", "journal.sqlite", "--model", f"{home}/int8.tflite", f"{home}/incoming"]
    (home / "act.py").touch()
    text = printed(*WATCH, "--journal", "mine", "--exec", "python3 act.py {label}", "--allow", "incoming")
    found = command_of(text)
    assert found[found.index("--journal") + 1] == "mine"
    assert found[found.index("--allow") + 1] == "incoming"  # a label, though a folder is called so
    assert shlex.split(found[found.index("--exec") + 1]) == ["python3", f"{home}/act.py", "{label}"]
    assert f"BindReadOnlyPaths={home}/act.py" in text
    assert "MemoryDenyWriteExecute" not in text


def test_without_a_network_need_it_has_none(home: Path) -> None:
    assert "PrivateNetwork=yes" in printed(*WATCH)
    assert "PrivateNetwork=yes" not in printed(*WATCH, "--exec", "true")


def test_the_model_is_the_one_that_the_command_would_take_here(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLENS_MODEL", "int8.tflite")
    found = command_of(printed("watch", "incoming"))
    assert found[-2:] == ["--model", f"{home}/int8.tflite"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("/dev/video7",), {"DeviceAllow=/dev/video7 rw", "SupplementaryGroups=video"}),
        (("picamera",), {"DeviceAllow=char-media rw", "SupplementaryGroups=video"}),
        (("--command", "rpicam-vid -o -"), {"DeviceAllow=char-video4linux rw"}),
        (("http://cam/stream",), {"PrivateDevices=yes"}),
    ],
    ids=["device", "camera", "command", "address"],
)
def test_a_source_brings_the_rights_that_it_needs(words: tuple[str, ...], expected: set[str], home: Path) -> None:
    assert expected <= {*printed("live", "--model", "int8.tflite", *words).splitlines()}


def test_a_file_with_a_secret_is_read_by_systemd(home: Path) -> None:
    (home / "token").touch(0o600)
    words = ("serve", "--model", "int8.tflite", "--host", "0.0.0.0", "--token", "token")
    text = printed(*words)
    assert f"LoadCredential=token:{home}/token" in text.splitlines()
    assert command_of(text)[-2:] == ["--token", "%d/token"]
    assert f"BindReadOnlyPaths={home}/token" not in text
    own = answer("service", "install", "--name", "web", "--print", "--user", "--", *words)
    assert command_of(own)[-1] == f"{home}/token"
    assert "LoadCredential" not in own


def test_a_service_has_no_standard_input(home: Path) -> None:
    result = invoke("service", "install", "--name", "door", "--print", "--", "live", "--model", "int8.tflite", "-")
    assert (result.exit_code, "no standard input" in result.stderr) == (2, True)


def test_images_that_are_moved_need_a_writable_folder(home: Path) -> None:
    text = printed(*WATCH, "--move-to", f"{home}/sorted/{{label}}")
    assert f"BindPaths={home}/incoming" in text
    assert f"BindPaths={home}" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("wacth", "incoming"), "a service runs one of live, watch, serve"),
        (("watch", "--modle", "x", "incoming"), "did you mean '--model'"),
        (("watch", "--top", "none", "incoming"), "expected a whole number"),
    ],
)
def test_a_mistake_in_the_command_is_named_before_anything_is_written(
    words: tuple[str, ...], message: str, home: Path
) -> None:
    result = invoke("service", "install", "--name", "door", "--user", "--", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (home / "config").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--name", "Door"), "such as door"),
        (("--name", "door", "--memory", "much"), "such as 512M"),
        (("--name", "door", "--user", "--run-as", "pi"), "leave out it or --user"),
    ],
)
def test_mistakes_of_install_itself(options: tuple[str, ...], message: str, home: Path) -> None:
    result = invoke("service", "install", *options, "--", *WATCH)
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr


def test_a_failed_start_says_where_to_look(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILS", "restart")
    result = invoke("service", "install", "--name", "door", "--user", "--", *WATCH)
    assert result.exit_code == 1
    assert "Job failed.; look at: journalctl --user -eu pocketlens-door.service" in result.stderr


def test_without_systemd_it_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home / "empty"))
    result = invoke("service", "install", "--name", "door", "--user", "--", *WATCH)
    assert (result.exit_code, "systemctl: not found" in result.stderr) == (1, True)
    assert "DynamicUser=yes" in printed(*WATCH)


def test_status_shows_each_and_fails_if_one_is_down(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no service" in invoke("service", "status", "--user").stderr
    for name in ("door", "bin"):
        answer("service", "install", "--name", name, "--user", "--", *WATCH)
    states = [json.loads(line) for line in answer("service", "status", "--user", "--json").splitlines()]
    assert [state["name"] for state in states] == ["bin", "door"]
    assert states[0] | {"state": "active", "restarts": 2, "memory": 1000, "text": "3 answered"} == states[0]
    monkeypatch.setenv("STATE", "failed")
    result = invoke("service", "status", "--user", "--name", "door")
    assert (result.exit_code, "failed" in result.stdout) == (1, True)


def test_units_of_others_stay(home: Path) -> None:
    folder = home / "config/systemd/user"
    folder.mkdir(parents=True)
    foreign = folder / "pocketlens-door.service"
    foreign.write_text("[Service]\nExecStart=/bin/true\n")
    for words in (("remove", "--name", "door", "--user"), ("install", "--name", "door", "--user", "--", *WATCH)):
        result = invoke("service", *words)
        assert (result.exit_code, "it stays as it is" in result.stderr) == (1, True), result.output
    assert foreign.read_text().startswith("[Service]")
    missing = invoke("service", "remove", "--name", "other", "--user")
    assert (missing.exit_code, "service status" in missing.stderr) == (1, True)


def test_a_service_of_a_slot_sees_its_renames_and_writes_health_alone(home: Path) -> None:
    filled_slot(home / "slot", slot_model()).close()
    lines = printed("live", "--model", "slot/model.tflite", "/dev/video0").splitlines()
    assert "DynamicUser=yes" in lines
    assert f"BindReadOnlyPaths={home}/slot" in lines
    assert f"BindPaths={home}/slot/health" in lines
    assert not [line for line in lines if line.startswith("Bind") and "model.tflite" in line]


def test_an_update_runs_as_the_owner_of_its_slot_and_writes_there_alone(home: Path) -> None:
    (home / "slot").mkdir()
    words = ("update", "--from", "https://example.org/m", "--app", "door", "--into", "slot", "--every", "1h")
    text = printed(*words)
    found = command_of(text)
    assert found[found.index("--into") + 1] == f"{home}/slot"
    assert f"User={(home / 'slot').owner()}" in text
    assert "DynamicUser" not in text
    assert "CapabilityBoundingSet=\n" in text
    assert [line for line in text.splitlines() if line.startswith("BindPaths=")] == [f"BindPaths={home}/slot"]
    assert "PrivateNetwork" not in text
    assert "WatchdogSec=1800" in text
    assert "User=" not in answer("service", "install", "--name", "u", "--user", "--print", "--", *words)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--into", "slot"), "give it --every"),
        (("--into", "missing", "--every", "1h"), "no such folder"),
    ],
)
def test_an_update_that_is_no_service_is_refused(home: Path, words: tuple[str, ...], reason: str) -> None:
    (home / "slot").mkdir()
    command = ("update", "--from", "repo", "--app", "door", *words)
    result = invoke("service", "install", "--name", "door", "--print", "--", *command)
    assert result.exit_code == 2
    assert reason in result.stderr
