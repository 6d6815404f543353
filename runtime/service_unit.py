"""Writes the unit of a systemd service that runs one of our commands, with as few rights as the command needs.

A system service gets an account of its own from systemd (`DynamicUser`): the account owns no file of anybody, it is
gone when the service is removed, and the service's state is kept in /var/lib under its name. Homes are hidden from the
service, apart from the files that its command names and the Python that runs it.
"""

from __future__ import annotations

import grp
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .cache import CACHE_VARIABLE
from .errors import PocketlensError, UsageError
from .files import shown

#: The first line of each unit that `unit_text` makes; `service remove` touches no other unit.
UNIT_MARK = "# Written by `pocketlens service install`."
PREFIX = "pocketlens-"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")
#: Folders that a service does not see, because of ProtectHome and PrivateTmp.
_HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))
#: Seconds in which a service says that it lives.
USUAL_SILENCE_S = 60
#: This version of systemd waits longer after each failure.
_BACKOFF_VERSION = 254
#: Classes of /proc/devices that the camera of a Raspberry Pi consists of.
_CAMERA_CLASSES = ("char-video4linux", "char-media", "char-dma_heap")
_CAMERA_GROUP = "video"


class ServiceError(PocketlensError, RuntimeError):
    """A service cannot be installed, shown or removed."""


class Credential(NamedTuple):
    """A file with a secret among the words of a command; systemd reads it, and shows it to the service alone.

    Attributes:
        path: the file, which only root may need to read.
        name: its name in the service's folder of credentials.
    """

    path: Path
    name: str


class ServicePlan(NamedTuple):
    """What a unit is made of.

    Attributes:
        name: the service's name, without `PREFIX`.
        words: the program and its arguments.
        reads: files and folders that it reads.
        writes: files and folders that it writes, in addition to its state.
        devices: device files that it uses.
        has_camera: whether it may use every camera.
        binds_low_port: whether it listens on a port below 1024.
        runs_programs: whether it starts programs, which may make memory executable.
        network: whether it may use the network.
        own_account: whether it is a service of the user who installs it.
        run_as: the account of a system service; "" for one of its own.
        memory: the value of MemoryMax.
        environment_file: a file of `NAME=value` lines, such as passwords; None for none.
        systemd_version: decides which settings are known.
        silence: seconds without a sign of life after which it is started again.
        program: the folders that the program needs; empty for those of this process.
    """

    name: str
    words: tuple[str | Credential, ...]
    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()
    devices: tuple[Path, ...] = ()
    has_camera: bool = False
    binds_low_port: bool = False
    runs_programs: bool = False
    network: bool = True
    own_account: bool = False
    run_as: str = ""
    memory: str = "512M"
    environment_file: Path | None = None
    systemd_version: int = 252
    silence: int = USUAL_SILENCE_S
    program: tuple[Path, ...] = ()


def check_service_name(name: str) -> str:
    """The name itself; raises UsageError if it cannot be a service's."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"`name` is {shown(name)!r}, expected at most 48 lower-case letters, digits, - and _, such as door"
        )
    return name


def unit_path(name: str, own_account: bool) -> Path:
    """Where the unit of a service lies."""
    return unit_folder(own_account) / f"{PREFIX}{name}.service"


def unit_folder(own_account: bool) -> Path:
    """Where units of the system lie, or those of the user."""
    if not own_account:
        return Path("/etc/systemd/system")
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".config") / "systemd/user"  # noqa: PTH117


def program_words() -> tuple[str, ...]:
    """The words that start `pocketlens` as this process was started: by the same Python or frozen application."""
    if getattr(sys, "frozen", False):
        return (sys.executable,)
    script = Path(sys.executable).parent / "pocketlens"
    if os.access(script, os.X_OK):
        return (str(script),)
    return (sys.executable, "-m", "runtime.cli.main")


def program_folders() -> tuple[Path, ...]:
    """The folders that the words of `program_words` need: the environment, its Python, and our own code."""
    found = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).parent, Path(__file__).parents[1]]
    return tuple(dict.fromkeys(path for path in found if not any(path.is_relative_to(o) for o in found if o != path)))


def quoted_word(word: str) -> str:
    r"""A word of ExecStart, in the quotes of systemd.syntax(7); `%` and `$` stand for themselves.

    Example:
        >>> quoted_word("100% $HOME")
        '"100%% $$HOME"'
    """
    text = word.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[\w@%+=:,./$-]+", text, re.ASCII):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return (
        '"' + "".join(c if c.isprintable() else "".join(f"\\x{b:02x}" for b in os.fsencode(c)) for c in escaped) + '"'
    )


def _word(word: str | Credential) -> str:
    return f"%d/{word.name}" if isinstance(word, Credential) else quoted_word(word)


def check_access(plan: ServicePlan) -> None:
    """Refuse a plan whose account may not use the files that it names.

    Raises:
        ServiceError: a file may not be read, or a folder not be written, by an account that owns nothing.
    """
    if plan.own_account or plan.run_as:
        return
    for path in (*program_folders(), *plan.reads):
        _check_mode(path, 0o5 if path.is_dir() else 0o4, "read")
    for path in plan.writes:
        _check_mode(path, 0o7 if path.is_dir() else 0o6, "write")


def _check_mode(path: Path, needed: int, verb: str) -> None:
    try:
        hidden = next((root for root in _HIDDEN if path.is_relative_to(root)), None)
        # Above a file that is bound into a hidden folder, systemd makes folders that everybody may pass.
        above = () if hidden else [parent for parent in path.parents if not parent.stat().st_mode & 0o1]
        if path.stat().st_mode & needed == needed and not above:
            return
    except OSError as error:
        raise ServiceError(f"{shown(path)}: {error.strerror}; the service needs it") from error
    raise ServiceError(
        f"{shown(path)}: the service's own account may not {verb} it (mode {path.stat().st_mode & 0o777:03o}); "
        "change the mode with chmod, or name an account that may by `run_as`"
    )


def unit_text(plan: ServicePlan) -> str:
    """The unit of a plan."""
    network = ("Wants=network-online.target", "After=network-online.target")
    sections: dict[str, Iterable[str]] = {
        "Unit": (
            f"Description=Pocketlens service {plan.name}",
            *(network if plan.network and not plan.own_account else ()),
            # A card that is not mounted yet, or a camera that is unplugged, must not end the service for ever.
            "StartLimitIntervalSec=0",
        ),
        "Service": (*_process(plan), *_account(plan), *_common_limits(plan)),
        "Install": (f"WantedBy={'default' if plan.own_account else 'multi-user'}.target",),
    }
    if not plan.own_account:
        sections["Service"] = (*sections["Service"], *_system_limits(plan), *_bound_paths(plan), *_device_rules(plan))
    blocks = ("\n".join((f"[{name}]", *lines)) for name, lines in sections.items())
    return f"{UNIT_MARK}\n" + "\n\n".join(blocks) + "\n"


def _process(plan: ServicePlan) -> Iterator[str]:
    folder = f"{PREFIX}{plan.name}"
    yield "Type=notify"
    yield f"ExecStart={' '.join(_word(word) for word in plan.words)}"
    for word in plan.words:
        if isinstance(word, Credential):
            yield f"LoadCredential={word.name}:{str(word.path).replace('%', '%%')}"
    yield f"WatchdogSec={plan.silence}"
    yield "TimeoutStartSec=300"  # a model of others is tried first, on a slow board
    yield "TimeoutStopSec=30"
    yield "Restart=always"
    yield "RestartPreventExitStatus=2"  # bad usage, which a restart does not cure
    if plan.systemd_version >= _BACKOFF_VERSION:
        yield from ("RestartSec=2", "RestartSteps=8", "RestartMaxDelaySec=300")
    else:
        yield "RestartSec=10"
    yield f"SyslogIdentifier={folder}"
    yield f"StateDirectory={folder}"
    yield f"CacheDirectory={folder}"
    yield f"WorkingDirectory=%S/{folder}"
    yield f"Environment={CACHE_VARIABLE}=%C/{folder}"
    if plan.environment_file is not None:
        escaped = str(plan.environment_file).replace("%", "%%")
        yield f"EnvironmentFile={escaped}"


def _account(plan: ServicePlan) -> Iterator[str]:
    if plan.own_account:
        return
    yield f"User={plan.run_as}" if plan.run_as else "DynamicUser=yes"
    groups = {_CAMERA_GROUP} if plan.has_camera else set()
    groups |= {_group_of(device) for device in plan.devices}
    if groups:
        yield f"SupplementaryGroups={' '.join(sorted(groups))}"


def _group_of(device: Path) -> str:
    """The group that may use a device; a camera's where the device is not plugged in."""
    try:
        return grp.getgrgid(device.stat().st_gid).gr_name
    except (OSError, KeyError):
        return _CAMERA_GROUP


def _common_limits(plan: ServicePlan) -> Iterator[str]:
    """Limits that need no rights of the one who sets them."""
    families = ("AF_UNIX", *(("AF_INET", "AF_INET6", "AF_NETLINK") if plan.network or plan.has_camera else ()))
    yield f"MemoryMax={plan.memory}"
    yield from ("TasksMax=256", "UMask=0077", "NoNewPrivileges=yes", "LockPersonality=yes", "RestrictRealtime=yes")
    yield from ("RestrictSUIDSGID=yes", "RestrictNamespaces=yes", f"RestrictAddressFamilies={' '.join(families)}")
    yield from ("SystemCallArchitectures=native", "SystemCallFilter=@system-service", "SystemCallFilter=~@privileged")
    yield "SystemCallErrorNumber=EPERM"
    if not plan.runs_programs:  # programs such as Node.js write their own machine code
        yield "MemoryDenyWriteExecute=yes"


def _system_limits(plan: ServicePlan) -> Iterator[str]:
    capabilities = "CAP_NET_BIND_SERVICE" if plan.binds_low_port else ""
    yield from (f"CapabilityBoundingSet={capabilities}", f"AmbientCapabilities={capabilities}")
    yield from ("ProtectSystem=strict", "ProtectHome=tmpfs", "PrivateTmp=yes", "ProtectProc=invisible")
    yield from ("ProtectClock=yes", "ProtectHostname=yes", "ProtectControlGroups=yes", "ProtectKernelLogs=yes")
    yield from ("ProtectKernelModules=yes", "ProtectKernelTunables=yes", "RemoveIPC=yes")
    if not plan.network:
        yield "PrivateNetwork=yes"


def _bound_paths(plan: ServicePlan) -> Iterator[str]:
    """What is seen of the folders that are hidden, and what is writable of the rest."""
    writes = tuple(dict.fromkeys(plan.writes))
    for path in dict.fromkeys((*(plan.program or program_folders()), *plan.reads)):
        if _is_hidden(path) and path not in writes:
            yield f"BindReadOnlyPaths={_path_value(path)}"
    for path in writes:
        yield f"{'BindPaths' if _is_hidden(path) else 'ReadWritePaths'}={_path_value(path)}"


def _is_hidden(path: Path) -> bool:
    return any(path.is_relative_to(root) for root in _HIDDEN)


def _path_value(path: Path) -> str:
    r"""A path in a setting that takes several; `%` stands for itself, and the quotes hold blanks and colons together.

    Example:
        >>> _path_value(Path("/srv/a b"))
        '"/srv/a b"'
    """
    text = str(path).replace("%", "%%")
    if re.fullmatch(r"[\w@%+=,./-]+", text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _device_rules(plan: ServicePlan) -> Iterator[str]:
    if not plan.devices and not plan.has_camera:
        yield "PrivateDevices=yes"
        return
    yield "DevicePolicy=closed"
    names: Sequence[str] = (*map(_path_value, plan.devices), *(_CAMERA_CLASSES if plan.has_camera else ()))
    for name in names:
        yield f"DeviceAllow={name} rw"
