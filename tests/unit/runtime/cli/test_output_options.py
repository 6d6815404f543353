"""The options of outputs: what they open, where events wait, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import logging
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from runtime.cli import output_options as module
from runtime.cli.app import Command, MissingExtraError, show_messages
from runtime.cli.output_options import AmountToKeep, OutputSettings, byte_size, open_outputs, output_options
from runtime.cli.watch import Teller
from runtime.errors import UsageError
from runtime.outputs.event import Event
from runtime.outputs.outputs import Outputs
from runtime.outputs.sink import CallbackSink
from runtime.postprocessing import Prediction
from runtime.watch.journal_file import Answer, Identity
from runtime.watch.watcher import Delivery
from tests.support.outputs import event_of
from tests.support.watching import draw

ROOT = Path(__file__).parents[4]


@click.command(cls=Command)
@output_options
def telling(outputs: OutputSettings) -> None:
    """Open outputs and tell one event."""
    with open_outputs(outputs, labels=["open"], source="door", show=lambda event: click.echo(event.label)) as opened:
        opened.tell(event_of("open", picture=b"\xff\xd8picture"))
        click.echo(json.dumps([*opened.counts]))


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(telling, [*map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        return 1, str(done.exception)
    return done.exit_code, done.output


def test_each_option_opens_its_output(tmp_path: Path) -> None:
    pytest.importorskip("paho.mqtt.client")  # an extra
    options = ("--state", tmp_path / "state", "--snapshots", tmp_path / "pictures", "--exec", "true {label}")
    hook = ("--webhook", "http://127.0.0.1:1/hook", "--mqtt", "mqtt://127.0.0.1:1/door")
    status, output = run(*options, *hook, "--uncertain", tmp_path / "unsure", "--keep-uncertain", "5")
    assert status == 0, output
    lines = output.splitlines()
    assert "open" in lines
    assert json.loads(next(line for line in lines if line.startswith("["))) == [
        "standard output",
        "command",
        "mqtt://127.0.0.1:1/door",
        "http://127.0.0.1:1",
        f"snapshots in {tmp_path}/pictures",
    ]
    assert len(list((tmp_path / "pictures").glob("*-open.jpg"))) == 1
    assert [path.name[:7] for path in (tmp_path / "state").glob("*.sqlite")] == ["events-"]


def test_nothing_is_kept_on_the_disk_where_nothing_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLENS_STATE", str(tmp_path / "state"))
    assert run()[0] == 0
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"POCKETLENS_STATE": "{}/own", "STATE_DIRECTORY": "{}/service"}, "own"),
        ({"STATE_DIRECTORY": "{}/service:{}/other"}, "service"),
        ({"XDG_STATE_HOME": "{}/xdg"}, "xdg/pocketlens"),
        ({"XDG_STATE_HOME": "relative", "HOME": "{}/home"}, "home/.local/state/pocketlens"),
    ],
)
def test_where_events_wait(
    variables: dict[str, str], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("POCKETLENS_STATE", "STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("{}", str(tmp_path)))
    assert module._log_file(None, "door").parent == tmp_path / place
    assert module._log_file(str(tmp_path), "door").parent == tmp_path
    assert module._log_file(None, "door") != module._log_file(None, "window")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--mqtt", "mqtt://me:pw@host/door"), "$POCKETLENS_MQTT_PASSWORD, or name a file with --mqtt-credentials"),
        (("--mqtt", "broker/door"), "expected an address like mqtt://broker.local/door"),
        (("--webhook", "example.org"), "expected an address like https://example.org/hook"),
        (("--keep", "much"), "'much' is no number of bytes; give one such as 500MB"),
        (("--keep-uncertain", "few"), "'few' is no number of bytes; give one such as 500MB, or a number of frames"),
        (("--exec", "nonesuch-program {label}"), "command not found in $PATH"),
        (("--exec", "echo {labels}"), "unknown placeholder {labels}"),
        (("--queue", "0"), "0"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], problem: str, tmp_path: Path) -> None:
    if "--mqtt" in arguments:
        pytest.importorskip("paho.mqtt.client")  # an extra
    status, output = run(*arguments, "--state", tmp_path)
    assert status == 2
    assert problem in output.replace("\n", " ")


def test_mqtt_without_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    status, output = run("--mqtt", "mqtt://host/door", "--state", tmp_path)
    assert status == 1
    assert output == "`mqtt` needs paho-mqtt, which is not installed; pip install 'pocketlens[mqtt]'"
    assert issubclass(MissingExtraError, ImportError)


def test_a_thread_of_a_command_names_its_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_messages()
    run("--state", tmp_path)
    thread = threading.Thread(target=logging.getLogger("runtime.outputs").warning, args=("raise `queue`",))
    thread.start()
    thread.join()
    assert capsys.readouterr().err == "raise --queue\n"


def test_sizes() -> None:
    assert [byte_size(text) for text in ("500MB", "2 GiB", "1.5kb", "7")] == [500 * 10**6, 2 * 2**30, 1500, 7]
    for text in ("", "MB", "5 apples", "-1MB", "1e9"):
        with pytest.raises(ValueError, match="no number of bytes"):
            byte_size(text)
    assert AmountToKeep(5, None) != AmountToKeep(None, 5)


def test_no_home_and_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POCKETLENS_STATE", "STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(UsageError, match="name a folder with --state"):
        module._log_file(None, "door")


def told_by_a_watch(deliveries: list[Delivery], *, pictures: bool) -> list[Event]:
    heard: list[Event] = []
    with Outputs([CallbackSink("list", heard.append, takes_pictures=pictures)]) as outputs:
        teller = Teller(outputs)
        for delivery in deliveries:
            teller.tell(delivery)
    return heard


def test_a_watch_tells_each_image_as_an_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = draw(tmp_path / "a.png")
    identity = Identity(1, 1_764_172_800_500_000_000, 3)
    predictions = (Prediction("cat", 0.75, 0), Prediction("dog", 0.25, 1))
    first = Delivery(str(path), Answer("a.png", identity, predictions))
    failed = Delivery(str(path), Answer("b.png", identity, error="no image"))
    moved = Delivery("gone.png", Answer("c.png", identity, predictions[1:]), moved_to=str(tmp_path / "missing.png"))
    events = told_by_a_watch([first, failed, moved], pictures=True)
    assert [event._replace(picture=None) for event in events] == [
        Event(1764172800.5, str(path), "cat", 0.75, 1764172800.5, 1, None, {"cat": 0.75, "dog": 0.25}),
        Event(1764172800.5, "gone.png", "dog", 0.25, 1764172800.5, 1, "cat", {"dog": 0.25}),
    ]
    assert (events[0].picture or b"").startswith(b"\xff\xd8\xff"), "no JPEG"
    assert events[1].picture is None
    assert "missing.png: cannot be opened" in capsys.readouterr().err
    assert told_by_a_watch([first], pictures=False)[0].picture is None


def test_outputs_import_nothing_heavy_until_they_are_used() -> None:
    code = "import sys; import runtime.cli.output_options, runtime.cli.watch; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {*done.stdout.split()} & {"paho", "sqlite3", "ssl", "http.client"}
