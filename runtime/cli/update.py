"""`pocketlens update`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..files import shown
from ..service import Service
from .app import Command, with_options
from .click_options import option_in
from .options import JSON_OPTION
from .output import print_json, print_line
from .value_types import TIME

if TYPE_CHECKING:
    from ..update.updating import UpdateOutcome


@click.command(
    cls=Command,
    requires=("tuf", "securesystemslib"),
    extra="update",
    quiet=True,
    option_names={"source": "--from", "folder": "--into", "trust_on_first_use": "--trust-on-first-use"},
    example="pocketlens update --from /media/usb/models --app door --into /var/lib/door\n"
    "pocketlens update --from https://example.org/models --app door \\\n"
    "      --into /var/lib/door --root root.json --every 1h",
)
@option_in("Repository")(
    "--from",
    "source",
    required=True,
    metavar="URL|DIR",
    help="The repository: an address, or a folder such as a stick.",
)
@option_in("Repository")("--app", required=True, metavar="NAME", help="The application, as `repo add` names it.")
@option_in("Repository")(
    "--root",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The repository's root.json, which is trusted at first. [default: root.json in --into]",
)
@option_in("Repository")(
    "--trust-on-first-use",
    is_flag=True,
    help="Trust the root that is in the repository at the first time; it is then kept, and its fingerprint is printed.",
)
@option_in("Device")(
    "--into",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The application's folder; services run the model.tflite in it.",
)
@option_in("Device")(
    "--device-id",
    default="",
    metavar="ID",
    help="Decides whether this device is among the first 10 %. [default: a random one, kept in --into]",
)
@option_in("Device")(
    "--every", type=TIME, metavar="TIME", help="Look again after this time, as a service. [default: once]"
)
@option_in("Installing")("--allow-new-labels", is_flag=True, help="Take a model whose labels are other ones.")
@option_in("Installing")(
    "--canaries",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Pictures with known answers, a folder for each label; a new model must not be worse. [default: none]",
)
@option_in("Installing")(
    "--probation",
    type=TIME,
    metavar="TIME",
    default="10m",
    show_default=True,
    help="Time in which a new model that fails is rolled back; 0 for none.",
)
@with_options(JSON_OPTION, group="Output")
def update(every: float | None, as_json: bool, **values: Any) -> None:
    """Install the newest model that a signed repository offers to this device, if it is new here.

    The repository is one of `pocketlens repo`. Its metadata is verified by The Update Framework: who signed it, that it
    is not older than what was seen before, that it has not expired, and that the model file is the one that was signed.
    Then the model is checked on this device, and takes the old one's place. Whatever is refused, the old model stays.
    """
    from ..update.updating import UpdateSettings, keep_updating, update_once  # here: tuf takes time to import

    settings = UpdateSettings(**values)
    tell = partial(_print_outcome, app=settings.app, as_json=as_json)
    if every is None:
        tell(update_once(settings))
        return
    if every < 1:
        raise click.UsageError(f"--every is {every:g} s, expected at least 1s")
    with Service() as service:
        keep_updating(settings, every, service, tell)


def _print_outcome(outcome: UpdateOutcome, app: str, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "app": app,
                **outcome._asdict(),
                "release": outcome.release and outcome.release._asdict(),
                "previous": outcome.previous and outcome.previous._asdict(),
            }
        )
        return
    now, before = (shown(str(each)) if each else "no model" for each in (outcome.release, outcome.previous))
    reason = f" ({shown(outcome.reason)})" if outcome.reason else ""
    lines = {
        "current": f"{now} is the newest for this device",
        "installed": f"{now} is installed, before it was {before}{reason}",
        "none": f"the repository offers no release of {app} to this device; installed: {now}",
        "rolled back": f"{before} failed and was rolled back to {now}{reason}",
    }
    probation = f"; on probation for {outcome.probation:.0f} s" if outcome.probation else ""
    print_line(f"{lines[outcome.status]}{probation}")
