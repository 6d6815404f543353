"""`pocketlens repo`: init, add, promote, revoke, refresh, rotate-key and status."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runtime.cli.app import Command, SuggestingGroup, with_options
from runtime.cli.click_options import option_in
from runtime.cli.options import JSON_OPTION
from runtime.cli.output import print_json, print_line
from runtime.cli.tables import columns
from runtime.cli.value_types import TextType
from runtime.files import shown
from runtime.outputs.credentials import read_secret_file
from runtime.update.rings import parse_rollout, rollout_text

from ..errors import RepositoryError

if TYPE_CHECKING:
    from runtime.update.releases import Offer

    from ..repository.keys import KeyFolder
    from ..repository.repository import Repository

PASSPHRASE_VARIABLE = "POCKETLENS_REPO_PASSPHRASE"
_DAY_S = 86_400
#: Days before an expiry from which on a command warns.
_WARNING_DAYS = {"root": 60, "targets": 60, "snapshot": 3, "timestamp": 1}
_Function = TypeVar("_Function", bound=Callable[..., Any])

_FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
_APP = option_in("Release")("--app", required=True, metavar="NAME", help="The application, such as door.")
_ROLLOUT = option_in("Release")(
    "--rollout",
    type=TextType("share", parse_rollout),
    metavar="SHARE",
    default="100%",
    show_default=True,
    help="The share of the devices that get it, such as 10%.",
)


class _RepoCommand(Command):
    """A command that signs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        names = {"keys": "--keys", "force": "--force", "rollout": "--rollout", "app": "--app"}
        super().__init__(
            *args,
            requires=("tuf", "securesystemslib", "cryptography"),
            extra="workstation",
            option_names=names,
            **kwargs,
        )


def _key_options(function: _Function) -> _Function:
    """`--keys` and `--passphrase-file`."""
    for option in (
        option_in("Keys")(
            "--passphrase-file",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help=f"Holds the passphrase of the offline keys. [default: ${PASSPHRASE_VARIABLE}, else it is asked for]",
        ),
        option_in("Keys")(
            "--keys",
            "key_folder",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="The folder with the private keys. [default: ~/.config/pocketlens/keys]",
        ),
    ):
        function = option(function)
    return function


@click.group("repo", cls=SuggestingGroup)
def repo() -> None:
    """Publish models for devices in a folder of signed files: on any web server, or a USB stick.

    The Update Framework signs them. `pocketlens update` on a device takes nothing else.
    """


@repo.command(
    cls=_RepoCommand,
    example="pocketlens repo init models-repo\npocketlens repo init /media/usb/models --timestamp-days 90",
)
@_FOLDER
@option_in("Keys")("--no-passphrase", is_flag=True, help="Write the offline keys without encryption.")
@_key_options
@option_in("Repository")(
    "--timestamp-days",
    type=click.IntRange(1, 365),
    default=7,
    show_default=True,
    help="Days after which devices take it for out of date; `repo refresh` begins them anew.",
)
@with_options(JSON_OPTION, group="Output")
def init(
    folder: Path,
    key_folder: Path | None,
    passphrase_file: Path | None,
    no_passphrase: bool,
    timestamp_days: int,
    as_json: bool,
) -> None:
    """Make an empty repository in DIR, and its keys for root, targets, snapshot and timestamp.

    The keys lie outside DIR. Those of root and targets are encrypted with a passphrase: `add`, `promote`, `revoke` and
    `rotate-key` ask for it. Those of snapshot and timestamp are for `refresh`, which a timer runs. Keep a copy of the
    folder of keys in a safe place: without the key of root, devices can never be led to new keys.

    Devices need DIR/metadata/root.json once, by a way that you trust, such as a bundle.
    """
    from runtime.update.client import fingerprint

    from ..repository.repository import Repository

    keys = _keys(key_folder, _no_secret if no_passphrase else _new_passphrase(passphrase_file))
    made = Repository.create(folder, keys, timestamp_days=timestamp_days)
    found = {"folder": str(folder), "keys": str(keys.folder), "fingerprint": fingerprint(made.first_root)}
    if as_json:
        print_json(found)
        return
    print_line(f"{shown(folder)}: an empty repository; its keys are in {shown(keys.folder)}: keep a copy of them")
    print_line(f"devices trust {shown(folder / 'metadata' / 'root.json')}; its fingerprint:")
    print_line(f"  {found['fingerprint']}")


@repo.command(
    cls=_RepoCommand,
    example="pocketlens repo add models-repo models/int8.tflite --app door\n"
    "pocketlens repo add models-repo int8.tflite --app door --rollout 10%",
)
@_FOLDER
@click.argument("model", type=click.Path(path_type=Path, dir_okay=False), metavar="MODEL")
@_APP
@_ROLLOUT
@option_in("Release")(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The report of the export. [default: report.json beside MODEL]",
)
@option_in("Release")(
    "--force", is_flag=True, help="Add a model whose report does not say that it passed; the metadata then says why."
)
@_key_options
@with_options(JSON_OPTION, group="Output")
def add(
    folder: Path,
    model: Path,
    app: str,
    rollout: int,
    report: Path | None,
    force: bool,
    key_folder: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Publish MODEL as the next release of an application, with its report.

    Only a model whose report says that it passed its gates is taken. With --rollout 10% a tenth of the devices gets it;
    each device decides by itself whether it belongs to them.
    """
    from ..repository.admission import admit

    opened = _open(folder, key_folder, passphrase_file)
    offer = opened.add(app, model.name, admit(model, report, force=force), rollout=rollout)
    _print_offer(offer, f"published for {rollout_text(offer.rollout)} of the devices", as_json)
    if offer.forced:
        print_line(f"warning: no gates vouch for it: {offer.forced}", error=True)
    _warn(opened)


@repo.command(
    cls=_RepoCommand,
    example="pocketlens repo promote models-repo --app door --rollout 50%\n"
    "pocketlens repo promote models-repo --app door",
)
@_FOLDER
@_APP
@_ROLLOUT
@_key_options
@with_options(JSON_OPTION, group="Output")
def promote(
    folder: Path, app: str, rollout: int, key_folder: Path | None, passphrase_file: Path | None, as_json: bool
) -> None:
    """Offer the newest release to more devices; those that have it keep it."""
    opened = _open(folder, key_folder, passphrase_file)
    offer = opened.promote(app, rollout)
    _print_offer(offer, f"is for {rollout_text(offer.rollout)} of the devices now", as_json)
    _warn(opened)


@repo.command(cls=_RepoCommand, example="pocketlens repo revoke models-repo --app door")
@_FOLDER
@_APP
@_key_options
@with_options(JSON_OPTION, group="Output")
def revoke(folder: Path, app: str, key_folder: Path | None, passphrase_file: Path | None, as_json: bool) -> None:
    """Take back the newest release: devices go back to the one before."""
    opened = _open(folder, key_folder, passphrase_file)
    offer, before = opened.revoke(app)
    if as_json:
        print_json({**_as_json(offer), "newest": before and before.version})
    else:
        now = f"devices go back to release {before.version}" if before else "there is none before it: devices keep it"
        print_line(f"{app} {offer.version}: revoked; {now}")
    _warn(opened)


@repo.command(
    cls=_RepoCommand, example="pocketlens repo refresh models-repo\npocketlens repo refresh models-repo --all"
)
@_FOLDER
@option_in("Repository")(
    "--all", "renew_all", is_flag=True, help="Sign root and targets anew too; that needs the passphrase."
)
@_key_options
@with_options(JSON_OPTION, group="Output")
def refresh(
    folder: Path, renew_all: bool, key_folder: Path | None, passphrase_file: Path | None, as_json: bool
) -> None:
    """Sign the timestamp anew, and the snapshot where it is due: for a timer, once a day.

    Devices refuse a repository whose timestamp has expired, as somebody might hide newer releases from them. What
    expires soon and needs the offline keys is said.
    """
    opened = _open(folder, key_folder, passphrase_file)
    signed = opened.refresh(renew_all=renew_all)
    if as_json:
        print_json({"signed": signed, "roles": _roles(opened)})
    else:
        until = time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(opened.expiries()[-1].expires))
        print_line(f"{shown(folder)}: {', '.join(signed)} signed; devices take it until {until}")
    _warn(opened)


@repo.command(
    "rotate-key",
    cls=_RepoCommand,
    example="pocketlens repo rotate-key models-repo timestamp\npocketlens repo rotate-key models-repo root",
)
@_FOLDER
@click.argument("role", type=click.Choice(("root", "targets", "snapshot", "timestamp")), metavar="ROLE")
@_key_options
@with_options(JSON_OPTION, group="Output")
def rotate_key(folder: Path, role: str, key_folder: Path | None, passphrase_file: Path | None, as_json: bool) -> None:
    """Give ROLE, a role of root, targets, snapshot and timestamp, a new key, where the old one was lost or stolen.

    It needs the key of root. Devices follow by themselves. The file of the old key stays; remove it.
    """
    opened = _open(folder, key_folder, passphrase_file)
    keyid = opened.rotate_key(role)
    print_json({"role": role, "key": keyid}) if as_json else print_line(f"{role} has a new key: {keyid[:16]}")
    _warn(opened)


@repo.command(
    "status", cls=_RepoCommand, example="pocketlens repo status models-repo\npocketlens repo status models-repo --json"
)
@_FOLDER
@_key_options
@with_options(JSON_OPTION, group="Output")
def show_repository(folder: Path, key_folder: Path | None, passphrase_file: Path | None, as_json: bool) -> None:
    """Show the releases, when the metadata expires, and which keys are at hand; no passphrase is needed."""
    from runtime.update.client import fingerprint

    opened = _open(folder, key_folder, passphrase_file)
    offers = opened.offers()
    if as_json:
        trusted = fingerprint(opened.first_root)
        print_json({"fingerprint": trusted, "roles": _roles(opened), "releases": [_as_json(one) for one in offers]})
        return
    rows = [("role", "version", "expires", "days", "key")]
    for role in _roles(opened):
        key = "here" if role["has_key"] else "not here"
        rows.append((role["role"], str(role["version"]), role["expires"][:10], f"{role['days_left']:.0f}", key))
    for line in columns(rows):
        print_line(line)
    print_line(f"fingerprint of the first root: {fingerprint(opened.first_root)}")
    rows = [("app", "release", "for", "file", "remarks")]
    for offer in offers:
        share = "revoked" if offer.revoked else rollout_text(offer.rollout)
        rows.append(
            (offer.app, str(offer.version), share, offer.name, f"forced: {offer.forced}" if offer.forced else "")
        )
    for line in columns(rows) if offers else ("no releases yet; `pocketlens repo add` publishes one",):
        print_line(line)
    _warn(opened)


def _open(folder: Path, key_folder: Path | None, passphrase_file: Path | None) -> Repository:
    from ..repository.repository import Repository  # here: it imports tuf and cryptography

    return Repository(folder, _keys(key_folder, lambda: _passphrase(passphrase_file)))


def _keys(folder: Path | None, passphrase: Callable[[], str]) -> KeyFolder:
    from ..repository.keys import KeyFolder, default_key_folder

    return KeyFolder(folder or default_key_folder(), passphrase)


def _passphrase(file: Path | None, *, is_new: bool = False) -> str:
    """The passphrase of a file, the environment or a person; "" is refused."""
    if file is not None:
        found = read_secret_file(file).rstrip("\r\n")
    elif PASSPHRASE_VARIABLE in os.environ:
        found = os.environ[PASSPHRASE_VARIABLE]
    elif sys.stdin is not None and sys.stdin.isatty():
        found = _ask(is_new)
    else:
        raise RepositoryError(
            f"the offline keys need a passphrase, and nobody can be asked; set ${PASSPHRASE_VARIABLE}, or name a file "
            "by `passphrase_file`"
        )
    if not found:
        cure = "give one, or choose --no-passphrase" if is_new else "give one"
        raise RepositoryError(f"the passphrase is empty; {cure}")
    return found


def _ask(is_new: bool) -> str:
    text = "Passphrase for the keys of root and targets"
    try:
        answer: str = click.prompt(
            text, hide_input=True, confirmation_prompt=is_new, default="", show_default=False, err=True
        )
    except click.Abort as error:
        raise KeyboardInterrupt from error
    return answer


def _new_passphrase(file: Path | None) -> Callable[[], str]:
    return lambda: _passphrase(file, is_new=True)


def _no_secret() -> str:
    return ""


def _as_json(offer: Offer) -> dict[str, Any]:
    share = offer.rollout / parse_rollout("100%")
    return {**offer._asdict(), "rollout": share}


def _print_offer(offer: Offer, text: str, as_json: bool) -> None:
    print_json(_as_json(offer)) if as_json else print_line(f"{offer.app} {offer.version} ({shown(offer.name)}) {text}")


def _roles(opened: Repository) -> list[dict[str, Any]]:
    return [
        {
            **expiry._asdict(),
            "expires": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expiry.expires)),
            "days_left": round((expiry.expires - time.time()) / _DAY_S, 2),
        }
        for expiry in opened.expiries()
    ]


def _warn(opened: Repository) -> None:
    """Say what expires soon."""
    for role in _roles(opened):
        if role["days_left"] < _WARNING_DAYS[role["role"]]:
            how = (
                "`pocketlens repo refresh --all`"
                if role["role"] in ("root", "targets")
                else "`pocketlens repo refresh`"
            )
            print_line(
                f"warning: {role['role']} expires in {role['days_left']:.1f} days; renew it by {how}", error=True
            )
