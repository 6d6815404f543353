"""`pocketlens bundle`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from runtime.cli.app import Command, with_options
from runtime.cli.click_options import option_in
from runtime.cli.options import JSON_OPTION
from runtime.cli.output import print_json, print_line
from runtime.cli.service_command import ServiceCommand, understood
from runtime.cli.tables import columns
from runtime.errors import UsageError
from runtime.files import shown
from runtime.service_unit import Credential, ServicePlan, check_service_name, unit_text

from ..bundle.bundle import Bundle, bundle_name, make_bundle
from ..bundle.targets import DEVICE_TARGETS, PYTHONS, DeviceTarget, device_target

_EXTRAS = ("camera", "mqtt", "serve", "update", "litert")
_PYTHONS = {".".join(map(str, version)): version for version in PYTHONS}
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    cls=Command,
    quiet=True,
    option_names={"extra": "--extra"},
    example="pocketlens bundle models/digits --target rpi-bookworm-arm64 --out door.tar.gz\n"
    "pocketlens bundle models/digits --target rpi-trixie-arm64 --out door.tar.gz \\\n"
    '      --service "live /dev/video0 --mqtt mqtt://broker"\n'
    "pocketlens bundle --targets",
)
@click.argument("models", required=False, type=click.Path(path_type=Path), metavar="MODELS")
@option_in("Device")(
    "--target", metavar="NAME", help=f"The kind of device: {', '.join(DEVICE_TARGETS)}.  [default: none]"
)
@option_in("Device")(
    "--targets",
    "only_list",
    is_flag=True,
    help="List the targets, with Python, glibc and the source of packages; make nothing.",
)
@option_in("Device")(
    "--python", type=click.Choice(list(_PYTHONS)), help="Another Python, for linux-x86_64 only. [default: the target's]"
)
@option_in("Output")(
    "--out", type=_FILE, metavar="FILE", help="The archive: a name that ends in .tar.gz.  [default: none]"
)
@option_in("Output")("--force", is_flag=True, help="Replace the archive if it exists.")
@option_in("Content")("--name", metavar="NAME", help="What the installation is called. [default: the archive's name]")
@option_in("Content")(
    "--model", metavar="NAME", default="", help="Another file of the folder. [default: int8.tflite, or the only one]"
)
@option_in("Content")(
    "--labels",
    type=_FILE,
    metavar="FILE",
    help="Labels of a model that Pocketlens did not make, one a line. [default: none]",
)
@option_in("Content")(
    "--service",
    metavar="COMMAND",
    help='Also a unit of systemd that runs live, watch or serve, with its options in one word: "live /dev/video0". '
    "[default: none]",
)
@option_in("Content")(
    "--extra",
    "extras",
    type=click.Choice(_EXTRAS),
    multiple=True,
    help="Packages for a part of Pocketlens; repeatable. [default: what the service needs]",
)
@option_in("Content")(
    "--root",
    type=_FILE,
    metavar="FILE",
    help="The root.json of a repository of `pocketlens repo`, for updates on the device. [default: none]",
)
@option_in("Packages")(
    "--wheel", type=_FILE, metavar="FILE", help="The wheel of Pocketlens. [default: made from what runs here]"
)
@option_in("Packages")(
    "--constraint",
    type=_FILE,
    metavar="FILE",
    help="Versions for pip, as its option of this name. [default: the newest]",
)
@with_options(JSON_OPTION, group="Output")
def bundle(models: Path | None, only_list: bool, as_json: bool, **options: Any) -> None:
    """Pack all that a device needs into one archive, which installs itself there without a network.

    MODELS is a folder that `pocketlens export` wrote, or a .tflite file. The archive holds the model, Pocketlens and
    the packages that it needs as wheels for the target, an installer, and a list of SHA-256. On the device:
    tar -xf door.tar.gz && sudo sh door/install.sh

    The same model, versions and options give the same bytes; SOURCE_DATE_EPOCH sets the date of the files.
    """
    if only_list:
        _show_targets(as_json)
        return
    missing = [
        flag
        for flag, value in (("MODELS", models), ("--target", options["target"]), ("--out", options["out"]))
        if not value
    ]
    if missing or models is None:
        raise UsageError(
            f"{', '.join(missing)}: missing; as in: pocketlens bundle models/ --target linux-x86_64 --out door.tar.gz"
        )
    python = options.pop("python")
    target = device_target(options.pop("target"), _PYTHONS[python] if python else None)
    out, service = options.pop("out"), options.pop("service")
    name = check_service_name(options.pop("name") or bundle_name(out))
    unit, needed = _unit(name, service, target) if service else ("", ())
    extras = sorted({*options.pop("extras"), *needed})
    made = make_bundle(models, target, out, name=name, extras=extras, unit=unit, **options)
    _show(made, as_json)


def _show_targets(as_json: bool) -> None:
    rows = [("target", "system", "python", "glibc", "interpreter", "packages")]
    for target in DEVICE_TARGETS.values():
        facts = target.as_dict()
        if as_json:
            print_json(facts)
            continue
        sources = [f"{name}: {source}" for name, source in facts["sources"].items() if name != "*"]
        packages = "; ".join((*sources, facts["sources"]["*"]))
        rows.append((target.name, target.system, facts["python"], facts["glibc"], target.interpreter, packages))
    if not as_json:
        for line in columns(rows, len(rows[0])):
            print_line(line)


def _show(made: Bundle, as_json: bool) -> None:
    facts = made.facts
    if as_json:
        print_json({"path": str(made.path), "bytes": made.bytes, "sha256": made.sha256, **facts})
        return
    for wheel in facts["wheels"]:
        print_line(f"  {wheel['name']} {wheel['version']}")
    for package in facts["needs"]["from_system"].values():
        print_line(f"  {package}, from the device's own packages")
    name, needs = facts["name"], facts["needs"]
    print_line(
        f"{shown(made.path)}: {made.bytes / 1e6:.1f} MB with {facts['model']['name']}; needs Python {needs['python']}, "
        f"glibc {needs['glibc']} and {needs['installed_bytes'] / 1e6:.0f} MB on the device; SHA-256 {made.sha256}"
    )
    service = " --service" if facts["service"] else ""
    print_line(f"on the device: tar -xf {shown(made.path.name)} && sudo sh {name}/install.sh{service}")


def _unit(name: str, service: str, target: DeviceTarget) -> tuple[str, tuple[str, ...]]:
    """The text of the service's unit, and the extras that its command needs."""
    prefix = Path(f"/opt/pocketlens-{name}")  # install.sh replaces it where another is chosen
    model = str(prefix / "current" / "model.tflite")
    try:
        words = shlex.split(service)
    except ValueError as error:
        raise UsageError(f"`service` is {shown(service)!r}: {error}") from error
    if not words:
        raise UsageError("`service` is empty, expected a command such as 'live /dev/video0'")
    if words[0] == "update":  # its account is the one that owns the folder there
        raise UsageError(
            "`service`: an update is set up on the device; add `extra=update`, and there: pocketlens service install"
        )
    found = understood(words, has_credentials=True, default=lambda: model)
    _check_paths(words, found)
    plan = ServicePlan(
        name,
        (str(prefix / "current" / "env" / "bin" / "pocketlens"), *found.words),
        reads=found.reads,
        writes=found.writes,
        devices=found.devices,
        has_camera=found.has_camera,
        binds_low_port=found.binds_low_port,
        runs_programs=found.runs_programs,
        network=found.network,
        systemd_version=target.systemd,
        program=(prefix,),
    )
    needs = {
        "camera": any(str(device).startswith("/dev/video") for device in found.devices),
        "mqtt": any(word == "--mqtt" or word.startswith("--mqtt=") for word in words),
        "serve": words[0] == "serve",
    }
    return unit_text(plan), tuple(extra for extra, needed in needs.items() if needed)


def _check_paths(words: Sequence[str], found: ServiceCommand) -> None:
    """Refuse a path that was made absolute here: the command runs on the device."""
    kept = {word.path.as_posix() if isinstance(word, Credential) else word for word in found.words}
    moved = [word for word in words if word not in kept and word.partition("=")[2] not in kept]
    # A command for pictures is one word, which is put together again.
    changed = [word for word in moved if not word.startswith("-") and " " not in word]
    if changed:
        raise UsageError(
            f"`service` names {shown(changed[0])}, a file of this machine; name its absolute path on the device"
        )
