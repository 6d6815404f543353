"""The command of a service, parsed as it will be when it starts: its words, and the files and devices that it uses."""

from __future__ import annotations

import os
import pwd
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from ..deployment.health import slot_of
from ..deployment.slot import HEALTH_NAME
from ..errors import UsageError
from ..files import shown
from ..service_unit import USUAL_SILENCE_S, Credential
from .model_options import default_model

#: The commands that run until they are stopped.
_ENDLESS = ("live", "watch", "serve", "update")
#: Options whose value is written to; a relative value stays relative, to the folder of the service's state.
_WRITTEN = frozenset(("--journal", "--move-to", "--snapshots", "--uncertain", "--state"))
#: The option with the folder of an update's model, which is where other services look for it.
_SLOT = "--into"
#: Options that name a file with a secret; another account need not be able to read it.
_SECRETS = frozenset(("--token", "--mqtt-credentials", "--webhook-secret"))
_PROGRAMS = frozenset(("--exec", "--command"))
_FILE_VALUES = {"FILE", "DIR", "PATH", "FOLDER", "LIST"}
#: Sources of pictures that are the camera of the board.
_CAMERAS = ("rpi", "picamera")
_LOWEST_FREE_PORT = 1024
#: The trial of a new model and that of the old one on the canaries may take ten minutes each, on a slow board.
_UPDATE_SILENCE_S = 1800


class ServiceCommand(NamedTuple):
    """A command of a service, its paths absolute, and what it uses.

    Attributes:
        run_as: the account that must run it; "" for any.
        silence: seconds for which it may give no sign of life.
    """

    words: tuple[str | Credential, ...]
    reads: tuple[Path, ...]
    writes: tuple[Path, ...]
    devices: tuple[Path, ...]
    has_camera: bool
    binds_low_port: bool
    runs_programs: bool
    network: bool
    run_as: str = ""
    silence: int = USUAL_SILENCE_S


def understood(
    words: Sequence[str], *, has_credentials: bool, default: Callable[[], str] = default_model
) -> ServiceCommand:
    """Parse the command as it will be parsed when it starts, and find what it uses.

    Args:
        words: the command.
        has_credentials: whether systemd reads files with secrets for the service.
        default: gives the model to use if the command names none.

    Raises:
        UsageError, click.UsageError: it is no command for a service, or has a mistake.
    """
    root = click.get_current_context().find_root()
    group = root.command
    assert isinstance(group, click.Group)
    if words[0] not in _ENDLESS:
        raise UsageError(f"{shown(words[0])}: a service runs one of {', '.join(_ENDLESS)}, with its options, behind --")
    command = group.get_command(root, words[0])
    if command is None:
        raise UsageError(f"{words[0]}: this version has no such command")
    with command.make_context(words[0], [*words[1:]], parent=root) as context:  # a mistake is named here
        values = dict(context.params)
    options = {flag: option for option in command.params if isinstance(option, click.Option) for flag in option.opts}
    paths = _Paths(has_credentials)
    changed: list[str | Credential] = [words[0], *paths.absolute_words(words[1:], options)]
    if words[0] == "update":
        run_as = _check_update(values)
    else:
        run_as = ""
        model = values.get("model_path")
        if not model:  # the service starts in another folder, and has another environment
            model = str(paths.note_read(default()))
            changed += ["--model", model]
        paths.note_slot(model)
    if words[0] == "watch":
        if not values.get("journal"):  # the folder need not be writable for the service
            changed[1:1] = ["--journal", "journal.sqlite"]
        if values.get("move_to"):
            paths.writes.append(absolute(values["folder"]))
    source = str(values.get("source") or "")
    if source == "-":
        raise UsageError("a service has no standard input; name a camera, an address or --command as the source")
    return ServiceCommand(
        tuple(changed),
        tuple(paths.reads),
        tuple(paths.writes),
        (Path(source),) if source.startswith("/dev/") else (),
        source in _CAMERAS or bool(values.get("source_command")),
        0 < (values.get("port") or 0) < _LOWEST_FREE_PORT,
        paths.has_programs,
        words[0] != "watch" or paths.has_programs or bool(values.get("mqtt") or values.get("webhook")),
        run_as,
        _UPDATE_SILENCE_S if words[0] == "update" else USUAL_SILENCE_S,
    )


def _check_update(values: Mapping[str, Any]) -> str:
    """The account that owns the slot of an update.

    Raises:
        UsageError: the update would look once, or its slot is not there.
    """
    if values.get("every") is None:
        raise UsageError("update: a service looks again and again; give it --every, such as --every 1h")
    folder = absolute(str(values["folder"]))
    try:
        return pwd.getpwuid(folder.stat().st_uid).pw_name
    except (OSError, KeyError) as error:
        raise UsageError(f"{shown(folder)}: no such folder; make it, with sudo mkdir, before its updates") from error


class _Paths:
    """Makes the paths of a command line absolute, and notes them."""

    def __init__(self, has_credentials: bool) -> None:
        self._has_credentials = has_credentials
        self.reads: list[Path] = []
        self.writes: list[Path] = []
        self.has_programs = False

    def absolute_words(self, words: Sequence[str], options: dict[str, click.Option]) -> Iterator[str | Credential]:
        rest = iter(words)
        for word in rest:
            flag, given, value = word.partition("=")
            option = options.get(flag)
            if option is None or not word.startswith("-"):
                yield word if word.startswith("-") else self._read(word)
            elif option.is_flag:
                yield word
            else:
                value = value if given else next(rest, "")
                if flag in _SECRETS and self._has_credentials:
                    yield from (flag, Credential(absolute(value), flag.lstrip("-")))
                else:
                    yield from (flag, self._value(flag, option, value))

    def _value(self, flag: str, option: click.Option, value: str) -> str:
        if flag == _SLOT:
            return self._slot(value)
        if flag in _WRITTEN:
            return self._written(value)
        if flag in _PROGRAMS:
            self.has_programs = True
            return shlex.join(self._read(word) for word in shlex.split(value))
        if flag == "--source" or _FILE_VALUES & {*re.split(r"[|.]", option.metavar or "")}:
            return self._read(value)
        return value

    def _read(self, word: str) -> str:
        """An existing file or folder as an absolute path; another word as it is."""
        if not word or not os.path.lexists(word) or word.startswith("/dev/"):
            return word
        return str(self.note_read(word))

    def note_read(self, path: str) -> Path:
        """The path, absolute, of what the service reads."""
        self.reads.append(absolute(path))
        return self.reads[-1]

    def note_slot(self, model: str) -> None:
        """If the model lies in a slot of updates: the slot is read as a whole, as its files are renamed."""
        slot = slot_of(model)
        if slot is not None:
            self.reads = [path for path in self.reads if path.parent != slot]
            self.reads.append(absolute(str(slot)))
            self.writes.append(absolute(str(slot / HEALTH_NAME)))

    def _written(self, value: str) -> str:
        folder = Path(value.partition("{")[0])
        if folder.is_absolute():
            self.writes.append(folder if folder.is_dir() else folder.parent)
        return value

    def _slot(self, value: str) -> str:
        self.writes.append(absolute(value))
        return str(self.writes[-1])


def absolute(path: str) -> Path:
    """A path as it can stand in a unit; raises UsageError for control characters."""
    found = Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are named
    if not str(found).isprintable():
        raise UsageError(f"{shown(found)}: a name with control characters cannot stand in a unit; rename it")
    return found
