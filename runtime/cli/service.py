"""`pocketlens service install`, `service status` and `service remove`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from ..files import shown
from ..service_unit import (
    PREFIX,
    UNIT_MARK,
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
from .options import JSON_OPTION, Option
from .output import print_json, print_line
from .service_command import absolute, understood
from .tables import columns

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
    """Run `live`, `watch`, `serve` or `update` as a service of systemd, from the start of the machine on."""


@service.command(
    "install",
    cls=Command,
    example="sudo pocketlens service install --name door -- \\\n      live --model /srv/door.tflite /dev/video0\n"
    "pocketlens service install --name web --user -- serve --model int8.tflite\n"
    "sudo pocketlens service install --name door-update -- \\\n"
    "      update --from https://me.org/m --app door --into /srv/door --every 1h\n"
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
    """Write, enable and start a systemd unit that runs COMMAND: `live`, `watch`, `serve` or `update --every`.

    The service is restarted when it fails or hangs, and its lines are in the journal of systemd. A system service has
    an account of its own, which can read what COMMAND names, and write only to its state in /var/lib; relative paths
    of output folders lie there. An update runs as the owner of its folder, without any further right, and writes there
    alone. Installing it again replaces it.
    """
    if own_account and run_as:
        raise UsageError("`run_as` is for a service of the system; leave out it or --user.")
    if not _MEMORY.fullmatch(memory):
        raise UsageError(f"`memory` is {shown(memory)!r}, expected a number with K, M or G, such as 512M")
    found = understood(command, has_credentials=not own_account and not run_as)
    if not own_account:
        run_as = run_as or found.run_as
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
        silence=found.silence,
        own_account=own_account,
        run_as=run_as,
        memory=memory,
        environment_file=absolute(environment_file) if environment_file else None,
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
