"""The options that say where answers are told, which `live` and `watch` share, and the outputs that they open."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import click

from ..errors import UsageError
from ..outputs.command import CommandSink
from ..outputs.event import Event
from ..outputs.event_queue import QUEUE_LIMIT
from ..outputs.outputs import Outputs
from ..outputs.pictures import SnapshotSink
from ..outputs.sink import CallbackSink, Sink
from ..watch.commands import DEFAULT_RETRIES
from .app import MissingExtraError
from .click_options import option_in

STATE_VARIABLE = "POCKETLENS_STATE"
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def byte_size(text: str) -> int:
    """A number of bytes, such as `500MB` or `2 GiB`.

    Raises:
        ValueError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if not found or found[2].upper() not in _UNITS:
        raise ValueError(f"{text!r} is no number of bytes; give one such as 500MB")
    return int(float(found[1]) * _UNITS[found[2].upper()])


class ByteSize(click.ParamType):  # type: ignore[type-arg]  # no generic in click 8.1, which Debian has
    """A number of bytes, such as 500MB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return byte_size(str(value))
        except ValueError as error:
            return self.fail(str(error), param, ctx)


class AmountToKeep(NamedTuple):
    """How much a folder may hold; None sets no limit of that kind."""

    frames: int | None
    size: int | None


class _AmountToKeep(click.ParamType):  # type: ignore[type-arg]
    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> AmountToKeep:
        text = str(value)
        try:
            return AmountToKeep(int(text), None) if text.isdecimal() else AmountToKeep(None, byte_size(text))
        except ValueError as error:
            return self.fail(f"{error}, or a number of frames", param, ctx)


class OutputSettings(NamedTuple):
    """The values of the options of `output_options`."""

    command: str | None
    exec_timeout: float
    exec_retries: int
    mqtt: str | None
    mqtt_credentials: str | None
    mqtt_ca: str | None
    mqtt_discovery: str
    webhook: str | None
    webhook_secret: str | None
    snapshots: str | None
    keep: int
    uncertain: str | None
    keep_uncertain: AmountToKeep
    queue: int
    state: str | None


def output_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that adds the options; the command's function gets them as `outputs`, an OutputSettings."""

    @wraps(function)
    def with_settings(*arguments: Any, **values: Any) -> Any:
        chosen = {name: values.pop(name) for name in OutputSettings._fields}
        return function(*arguments, outputs=OutputSettings(**chosen), **values)

    decorated: Callable[..., Any] = with_settings
    for add in reversed(_OPTIONS):
        decorated = add(decorated)
    return decorated


def _option(*flags: str, group: str = "Telling", **settings: Any) -> Callable[..., Any]:
    return option_in(group)(*flags, **settings)


_OPTIONS = (
    _option(
        "--exec",
        "command",
        metavar="COMMAND",
        help="Run for each answer that is told, with {path}, {label} and {score}. [default: none]",
    ),
    _option(
        "--exec-timeout",
        type=click.FloatRange(0.01, 86_400),
        default=60.0,
        show_default=True,
        help="Seconds until COMMAND is killed.",
    ),
    _option(
        "--exec-retries",
        type=click.IntRange(0, 1000),
        default=DEFAULT_RETRIES,
        show_default=True,
        help="Times that COMMAND is run again after it fails, with pauses of 2 s to 10 minutes.",
    ),
    _option(
        "--mqtt",
        metavar="URL",
        help="Publish to a broker: mqtt://HOST/TOPIC, or mqtts:// for TLS. Name and password are in "
        "$POCKETLENS_MQTT_USER and $POCKETLENS_MQTT_PASSWORD, or in the file of --mqtt-credentials. [default: none]",
    ),
    _option(
        "--mqtt-credentials",
        metavar="FILE",
        help="A file of yours alone with two lines: user name and password. [default: none]",
    ),
    _option("--mqtt-ca", metavar="FILE", help="Certificates that the broker's must come from. [default: the system's]"),
    _option(
        "--mqtt-discovery",
        metavar="PREFIX",
        default="homeassistant",
        show_default=True,
        help="Topic under which Home Assistant looks for devices; 'none' publishes nothing there.",
    ),
    _option("--webhook", metavar="URL", help="Send each event there, as JSON by POST. [default: none]"),
    _option(
        "--webhook-secret",
        metavar="FILE",
        help="A file of yours alone with the secret that signs what is sent. [default: $POCKETLENS_WEBHOOK_SECRET]",
    ),
    _option("--snapshots", metavar="FOLDER", help="Keep the picture of each event there. [default: none]"),
    _option(
        "--keep",
        type=ByteSize(),
        metavar="SIZE",
        default="500MB",
        show_default=True,
        help="Bytes of all snapshots; beyond them the oldest go.",
    ),
    _option(
        "--uncertain",
        metavar="FOLDER",
        help="Keep the frames there of which the model is least sure, and some at random. [default: none]",
    ),
    _option(
        "--keep-uncertain",
        type=_AmountToKeep(),
        metavar="N|SIZE",
        default="500",
        show_default=True,
        help="Frames in that folder, or bytes, such as 200MB.",
    ),
    _option(
        "--queue",
        type=click.IntRange(1, 1_000_000),
        default=QUEUE_LIMIT,
        show_default=True,
        help="Events that wait for one output, over restarts too; beyond them the oldest is dropped.",
    ),
    _option(
        "--state",
        metavar="FOLDER",
        help=f"Where waiting events are kept.  [default: ${STATE_VARIABLE}, else $STATE_DIRECTORY, else "
        "~/.local/state/pocketlens]",
    ),
)


def open_outputs(
    settings: OutputSettings,
    *,
    labels: Sequence[str],
    source: str,
    show: Callable[[Event], object] | None = None,
    listen: Callable[[Event], object] | None = None,
    runs_command: bool = True,
    model: Callable[[], str] = str,
) -> Outputs:
    """All outputs that the user named; use it in a `with`.

    Args:
        settings: the values of the options.
        labels: the model's labels.
        source: what is looked at; outputs of another source keep their events elsewhere.
        show: prints an event to standard output.
        listen: an extra function of this process, such as a server's; it is given pictures.
        runs_command: whether the command is an output; a watch runs its command itself.
        model: gives the SHA-256 of the model file, which is noted beside uncertain frames.

    Raises:
        UsageError: an option's value is not allowed.
        MissingExtraError: an output needs an extra that is not installed.
    """
    sinks: list[Sink] = []
    if show is not None:
        sinks.append(CallbackSink("standard output", show))
    if listen is not None:
        sinks.append(CallbackSink("listener", listen, takes_pictures=True))
    try:
        sinks += _sinks_of(settings, labels, runs_command)
    except ValueError as error:
        raise UsageError(str(error)) from error
    log_file = _log_file(settings.state, source) if any(sink.is_kept for sink in sinks) else None
    recorder = None
    if settings.uncertain is not None:
        from ..outputs.uncertain import UncertainFrames  # here: what it imports takes time

        recorder = UncertainFrames(settings.uncertain, *settings.keep_uncertain, model=model)
    return Outputs(sinks, queue=settings.queue, log_file=log_file, recorder=recorder)


def _sinks_of(settings: OutputSettings, labels: Sequence[str], runs_command: bool) -> Iterator[Sink]:
    if runs_command and settings.command is not None:
        yield CommandSink(settings.command, settings.exec_timeout, settings.exec_retries)
    if settings.mqtt is not None:
        yield _mqtt_sink(settings, labels)
    if settings.webhook is not None:
        from ..outputs.webhook import WebhookSink, read_webhook_secret  # here: what it imports takes time

        yield WebhookSink(settings.webhook, read_webhook_secret(settings.webhook_secret))
    if settings.snapshots is not None:
        yield SnapshotSink(settings.snapshots, settings.keep)


def _mqtt_sink(settings: OutputSettings, labels: Sequence[str]) -> Sink:
    if importlib.util.find_spec("paho") is None:
        raise MissingExtraError("`mqtt` needs paho-mqtt, which is not installed; pip install 'pocketlens[mqtt]'")
    from ..outputs.mqtt import MqttSink, read_mqtt_credentials  # here: what it imports takes time

    return MqttSink(
        settings.mqtt or "",
        labels,
        credentials=read_mqtt_credentials(settings.mqtt_credentials),
        certificates=settings.mqtt_ca,
        discovery="" if settings.mqtt_discovery == "none" else settings.mqtt_discovery.strip("/"),
        takes_pictures=settings.snapshots is not None,
    )


def _log_file(state: str | None, source: str) -> Path:
    """The file in which the events of a source wait."""
    folder = state or os.environ.get(STATE_VARIABLE) or os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if not folder:
        base = os.environ.get("XDG_STATE_HOME", "")
        try:  # the specification says to ignore relative ones
            home = Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state"  # noqa: PTH117
        except RuntimeError as error:
            raise UsageError("there is no home folder for waiting events; name a folder with --state") from error
        folder = str(home / "pocketlens")
    return Path(folder, f"events-{hashlib.sha256(os.fsencode(source)).hexdigest()[:16]}.sqlite")
