"""`pocketlens service install`, `service status` and `service remove`."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import click

from ..errors import UsageError
from ..files import shown
from ..service_unit import (
    PREFIX,
    UNIT_MARK,
    Credential,
    ServiceError,
    ServicePlan,
    check_access,
    check_service_name,
    program_words,
    unit_folder,
    unit_path,
    unit_text,
)
from .app import Command, SuggestingGroup, with_options
from .click_options import option_in
from .model_options import default_model
from .options import JSON_OPTION, Option
from .output import print_json, print_line
from .tables import columns

#: The commands that run until they are stopped.
_ENDLESS = ("live", "watch", "serve")
#: Options whose value is written to; a relative value stays relative, to the folder of the service's state.
_WRITTEN = frozenset(("--journal", "--move-to", "--snapshots", "--uncertain", "--state"))
#: Options that name a file with a secret; another account need not be able to read it.
_SECRETS = frozenset(("--token", "--mqtt-credentials", "--webhook-secret"))
_PROGRAMS = frozenset(("--exec", "--command"))
_FILE_VALUES = {"FILE", "DIR", "PATH", "FOLDER", "LIST"}
#: Sources of pictures that are the camera of the board.
_CAMERAS = ("rpi", "picamera")
_LOWEST_FREE_PORT = 1024
_MEMORY = re.compile(r"[1-9]\d*[KMG]?")
#: What `status` asks systemd for.
_PROPERTIES = ("ActiveState", "SubState", "StatusText", "NRestarts", "MemoryCurrent", "ActiveEnterTimestamp", "Result")
_SYSTEMCTL_TIMEOUT_S = 400

_NAME = option_in("Service")("--name", required=True, metavar="NAME", help="The service's name, such as door.")
_USER = Option(
    ("--user",), "A service of your own account, instead of the system's.", name="own_account", type=bool, default=False
)


@click.group("service", cls=SuggestingGroup)
def service() -> None:
    """Run `live`, `watch` or `serve` as a service of systemd, from the start of the machine on."""


@service.command(
    "install",
    cls=Command,
    example="sudo pocketlens service install --name door -- \\\n      live --model /srv/door.tflite /dev/video0\n"
    "pocketlens service install --name web --user -- serve --model int8.tflite\n"
    "pocketlens service install --name web --print -- serve --model int8.tflite",
)
@_NAME
@with_options(_USER, group="Service")
@option_in("Service")(
    "--print", "only_print", is_flag=True, help="Print the unit, and neither write nor start anything."
)
@option_in("Rights")(
    "--run-as", metavar="USER", default="", help="An existing account. [default: one that only the service has]"
)
@option_in("Rights")(
    "--device",
    "devices",
    multiple=True,
    metavar="PATH",
    help="A device that the command uses, such as /dev/gpiochip0; repeatable. [default: the camera that SOURCE names]",
)
@option_in("Rights")(
    "--memory", metavar="SIZE", default="512M", show_default=True, help="Memory above which it is restarted."
)
@option_in("Rights")(
    "--environment-file",
    metavar="FILE",
    help="Lines NAME=VALUE for its environment, such as passwords. [default: none]",
)
@with_options(JSON_OPTION, group="Output")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND ...")
def install_service(
    name: str,
    own_account: bool,
    only_print: bool,
    run_as: str,
    devices: tuple[str, ...],
    memory: str,
    environment_file: str | None,
    as_json: bool,
    command: tuple[str, ...],
) -> None:
    """Write, enable and start a systemd unit that runs COMMAND: `live`, `watch` or `serve` with its options.

    The service is restarted when it fails or hangs, and its lines are in the journal of systemd. A system service has
    an account of its own, which can read what COMMAND names, and write only to its state in /var/lib; relative paths
    of output folders lie there. Installing it again replaces it.
    """
    if own_account and run_as:
        raise UsageError("`run_as` is for a service of the system; leave out it or --user.")
    if not _MEMORY.fullmatch(memory):
        raise UsageError(f"`memory` is {shown(memory)!r}, expected a number with K, M or G, such as 512M")
    found = _understood(command, has_credentials=not own_account and not run_as)
    plan = ServicePlan(
        check_service_name(name),
        (*program_words(), *found.words),
        reads=found.reads,
        writes=found.writes,
        devices=(*found.devices, *map(Path, devices)),
        has_camera=found.has_camera,
        binds_low_port=found.binds_low_port,
        runs_programs=found.runs_programs,
        network=found.network,
        own_account=own_account,
        run_as=run_as,
        memory=memory,
        environment_file=_absolute(environment_file) if environment_file else None,
        systemd_version=_systemd_version(),
    )
    unit = unit_path(name, own_account)
    if only_print:
        print_json({"path": str(unit), "unit": unit_text(plan)}) if as_json else _print_text(unit_text(plan))
        return
    check_access(plan)
    _start(unit, unit_text(plan), own_account)
    print_json({"name": name, "unit": unit.name, "path": str(unit)}) if as_json else print_line(
        f"{unit.name} runs; its lines: journalctl {'--user ' * own_account}-fu {unit.name}"
    )
    for line in _remarks(own_account):
        print_line(line, error=True)


@service.command(cls=Command, example="pocketlens service status\npocketlens service status --user --json")
@option_in("Service")("--name", metavar="NAME", help="Only this service. [default: all services of Pocketlens]")
@with_options(_USER, group="Service")
@with_options(JSON_OPTION, group="Output")
def status(name: str | None, own_account: bool, as_json: bool) -> None:
    """Show the services that were installed, and whether they run; the exit status is 1 if one does not."""
    folder = unit_folder(own_account)
    units = [unit_path(name, own_account)] if name else sorted(folder.glob(f"{PREFIX}*.service"))
    if name:
        _check_ours(units[0])
    states = [_state(unit, own_account) for unit in units]
    if as_json:
        for state in states:
            print_json(state)
    elif states:
        keys = ("name", "state", "since", "restarts", "memory", "text")
        for line in columns([keys, *([str(state[key] or "-") for key in keys] for state in states)], len(keys)):
            print_line(line)
    else:
        print_line(f"{folder}: no service of Pocketlens", error=True)
    if any(state["state"] != "active" for state in states):
        click.get_current_context().exit(1)


@service.command(cls=Command, example="sudo pocketlens service remove --name door")
@_NAME
@with_options(_USER, group="Service")
@click.option("--purge", is_flag=True, help="Delete its state and its cache too.")
@with_options(JSON_OPTION, group="Output")
def remove(name: str, own_account: bool, purge: bool, as_json: bool) -> None:
    """Stop and disable a service that was installed, and delete its unit; its state stays without --purge."""
    unit = unit_path(check_service_name(name), own_account)
    _check_ours(unit)
    _systemctl(own_account, "disable", "--now", unit.name)
    if purge:
        _systemctl(own_account, "clean", "--what=state", "--what=cache", unit.name)
    try:
        unit.unlink()
    except OSError as error:
        raise _not_permitted(unit, error) from error
    _systemctl(own_account, "daemon-reload")
    print_json({"name": name, "removed": str(unit), "purged": purge}) if as_json else print_line(f"removed {unit}")


class _Understood(NamedTuple):
    """A command of a service, its paths absolute, and what it uses."""

    words: tuple[str | Credential, ...]
    reads: tuple[Path, ...]
    writes: tuple[Path, ...]
    devices: tuple[Path, ...]
    has_camera: bool
    binds_low_port: bool
    runs_programs: bool
    network: bool


def _understood(words: Sequence[str], *, has_credentials: bool) -> _Understood:
    """Parse the command as it will be parsed when it starts, and find what it uses.

    Args:
        words: the command.
        has_credentials: whether systemd reads files with secrets for the service.

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
    if not values.get("model_path"):  # the service starts in another folder, and has another environment
        changed += ["--model", str(paths.note_read(default_model()))]
    if words[0] == "watch":
        if not values.get("journal"):  # the folder need not be writable for the service
            changed[1:1] = ["--journal", "journal.sqlite"]
        if values.get("move_to"):
            paths.writes.append(_absolute(values["folder"]))
    source = str(values.get("source") or "")
    if source == "-":
        raise UsageError("a service has no standard input; name a camera, an address or --command as the source")
    return _Understood(
        tuple(changed),
        tuple(paths.reads),
        tuple(paths.writes),
        (Path(source),) if source.startswith("/dev/") else (),
        source in _CAMERAS or bool(values.get("source_command")),
        0 < (values.get("port") or 0) < _LOWEST_FREE_PORT,
        paths.has_programs,
        words[0] != "watch" or paths.has_programs or bool(values.get("mqtt") or values.get("webhook")),
    )


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
                    yield from (flag, Credential(_absolute(value), flag.lstrip("-")))
                else:
                    yield from (flag, self._value(flag, option, value))

    def _value(self, flag: str, option: click.Option, value: str) -> str:
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
        self.reads.append(_absolute(path))
        return self.reads[-1]

    def _written(self, value: str) -> str:
        folder = Path(value.partition("{")[0])
        if folder.is_absolute():
            self.writes.append(folder if folder.is_dir() else folder.parent)
        return value


def _absolute(path: str) -> Path:
    found = Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are named
    if not str(found).isprintable():
        raise UsageError(f"{shown(found)}: a name with control characters cannot stand in a unit; rename it")
    return found


def _start(unit: Path, text: str, own_account: bool) -> None:
    """Write a unit, enable it and start it anew; systemd returns once the service has reported that it is ready."""
    _systemctl(own_account, "show", "--property=Version")  # before anything is written: is there a systemd?
    if unit.exists():
        _check_ours(unit)
    try:
        unit.parent.mkdir(parents=True, exist_ok=True)
        fresh = unit.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(unit)
    except OSError as error:
        raise _not_permitted(unit, error) from error
    _systemctl(own_account, "daemon-reload")
    _systemctl(own_account, "enable", unit.name)
    _systemctl(own_account, "restart", unit.name)


def _not_permitted(unit: Path, error: OSError) -> ServiceError:
    cure = "run it with sudo, or give --user for a service of your own account"
    return ServiceError(f"{unit}: {error.strerror}; {cure}")


def _check_ours(unit: Path) -> None:
    try:
        first = unit.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    except OSError as error:
        cure = "`pocketlens service status` lists the services, with --user those of your account"
        raise ServiceError(f"{unit}: {error.strerror}; {cure}") from error
    if first != UNIT_MARK:
        raise ServiceError(f"{unit}: not written by `pocketlens service install`; it stays as it is")


def _state(unit: Path, own_account: bool) -> dict[str, Any]:
    text = _systemctl(own_account, "show", f"--property={','.join(_PROPERTIES)}", unit.name)
    values = dict(line.partition("=")[::2] for line in text.splitlines())
    memory = values.get("MemoryCurrent", "")
    return {
        "name": unit.stem.removeprefix(PREFIX),
        "state": values.get("ActiveState", ""),
        "substate": values.get("SubState", ""),
        "result": values.get("Result", ""),
        "since": values.get("ActiveEnterTimestamp", ""),
        "restarts": int(values.get("NRestarts") or 0),
        "memory": int(memory) if memory.isdecimal() and len(memory) < 18 else None,
        "text": values.get("StatusText", ""),
    }


def _systemctl(own_account: bool, *words: str) -> str:
    """What systemctl prints; raises ServiceError with its first line if it fails."""
    command = ["systemctl", *(["--user"] if own_account else []), *words]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_SYSTEMCTL_TIMEOUT_S, check=False
        )
    except FileNotFoundError as error:
        raise ServiceError("systemctl: not found; a service needs systemd, and --print shows the unit") from error
    except subprocess.TimeoutExpired as error:
        raise ServiceError(
            f"{' '.join(command)}: no end after {_SYSTEMCTL_TIMEOUT_S} s; look at journalctl -e"
        ) from error
    if done.returncode:
        said = next(filter(None, map(str.strip, done.stderr.splitlines())), f"exit status {done.returncode}")
        cure = f"; look at: journalctl {'--user ' * own_account}-eu {words[-1]}" if words[0] == "restart" else ""
        raise ServiceError(f"{' '.join(command)}: {said}{cure}")
    return done.stdout


def _systemd_version() -> int:
    """The version of the systemd that is installed; an old one where there is none."""
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, timeout=10, check=False)
        found = re.match(r"systemd (\d+)", done.stdout)
        if found:
            return int(found[1])
    return ServicePlan._field_defaults["systemd_version"]  # type: ignore[no-any-return]


def _remarks(own_account: bool) -> Iterator[str]:
    """What keeps the service from working as it is meant, though it runs."""
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    with suppress(OSError):
        if "memory" not in controllers.read_text().split():
            yield "warning: the kernel does not limit memory; add cgroup_enable=memory to /boot/firmware/cmdline.txt"
    user = os.environ.get("USER", "")
    if own_account and shutil.which("loginctl") and not Path("/var/lib/systemd/linger", user).exists():
        yield f"warning: it ends when you log out, until you give: sudo loginctl enable-linger {user}"


def _print_text(text: str) -> None:
    for line in text.splitlines():
        print_line(line)
