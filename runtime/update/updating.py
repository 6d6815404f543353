"""One look at the repository, with all that follows from it on the device; and looking again and again."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..deployment import InstallResult, Release, Slot, install, open_slot, watch_probation
from ..deployment.probation import ROLLED_BACK
from ..errors import PocketlensError, UsageError, describe
from ..progress import progress
from ..service import Service
from .client import UpdateClient
from .clock import MachineClock
from .releases import Offer, check_app_name, chosen_offer
from .rings import check_device_id, own_device_id
from .transport import open_transport

_log = logging.getLogger(__name__)

_CURRENT, _INSTALLED, _NOTHING = "current", "installed", "none"
#: Pauses differ by this share, so that a hundred devices do not come at the same second.
_JITTER = 0.1
_FIRST_PAUSE_S = 30.0


class UpdateSettings(NamedTuple):
    """What a device is told of its updates.

    Attributes:
        source: the repository's address or folder.
        app: the application.
        folder: the slot, whose `model.tflite` services run.
        device_id: decides to which share of the devices this one belongs; "" for a random one, kept in the folder.
        root: the root.json to trust at first; None for the one in the folder.
        trust_on_first_use: trust the root that is in the repository at first, where none is known.
        allow_new_labels: take a model with other labels.
        canaries: a folder of pictures with known answers; None for none.
        probation: seconds in which a new model may be rolled back.
    """

    source: str
    app: str
    folder: Path
    device_id: str = ""
    root: Path | None = None
    trust_on_first_use: bool = False
    allow_new_labels: bool = False
    canaries: Path | None = None
    probation: float = 0.0


class UpdateOutcome(NamedTuple):
    """What an update has come to.

    Attributes:
        status: `"current"` (nothing new), `"installed"`, `"none"` (nothing is offered to this device), or
            `"rolled back"` (a new model failed its probation).
        release: what is installed now; None for nothing.
        previous: what was installed before, if that has changed.
        reason: more about it, in one line.
        received: bytes that were fetched, without the heads of HTTP.
        requests: files that were asked for.
        probation: seconds in which the model may still be rolled back; 0 for none.
    """

    status: str
    release: Release | None
    previous: Release | None = None
    reason: str = ""
    received: int = 0
    requests: int = 0
    probation: float = 0.0


class _StoppedError(PocketlensError, RuntimeError):
    """The service is to end; a later update goes on from here."""


def update_once(
    settings: UpdateSettings,
    machine: MachineClock | None = None,
    keep_going: Callable[[], bool] = lambda: True,
) -> UpdateOutcome:
    """Look for a new release, and install it.

    Args:
        settings: the settings.
        machine: the machine's clock.
        keep_going: called while a model is fetched; False ends that.

    Raises:
        UsageError: a setting is wrong.
        UpdateError: the repository cannot be reached, or is refused.
        DeploymentError: the model does not fit or does not work here, or another update is at work.
        OSError: a file cannot be written.
    """
    transport = open_transport(settings.source)
    check_app_name(settings.app)
    if settings.device_id:
        check_device_id(settings.device_id)
    with open_slot(settings.folder) as slot:
        judged = _judge(slot, lambda: True)
        client = UpdateClient(
            transport,
            settings.app,
            settings.folder,
            root=settings.root,
            trust_on_first_use=settings.trust_on_first_use,
            machine=machine,
        )
        device_id = settings.device_id or own_device_id(settings.folder / "update" / "device-id")
        offers = client.offers()
        offer = chosen_offer(offers, device_id, (each.sha256 for each in offers if slot.refused(each.sha256)))
        before = slot.current
        if offer is None or (before is not None and before.sha256 == offer.sha256):
            # A bundle brings a model without saying which release it is.
            known = before if offer is None else _release(offer)
            outcome = judged or UpdateOutcome(_CURRENT if offer else _NOTHING, known, probation=_left(slot))
        else:
            result = _install(slot, client, offer, settings, keep_going)
            outcome = UpdateOutcome(_INSTALLED, result.release, before, _checks(result), probation=result.probation)
        return outcome._replace(received=transport.received, requests=transport.requests)


def keep_updating(
    settings: UpdateSettings,
    every: float,
    service: Service,
    tell: Callable[[UpdateOutcome], object],
    machine: MachineClock | None = None,
) -> None:
    """Look for new releases until the service ends, and watch over the probation of each.

    Args:
        settings: the settings.
        every: seconds between two looks, give or take a tenth. After an error it is less: half a minute, then more.
        service: ends the work.
        tell: called with each outcome, but not again and again with the same.
        machine: the machine's clock.

    Raises:
        UsageError: a setting is wrong.
    """
    failures, told = 0, None
    service.ready()
    while service.keep_going():
        try:
            outcome = update_once(settings, machine, service.keep_going)
            failures = 0
            if outcome[:2] != told:
                tell(outcome)
            told = outcome[:2]
            service.status(f"{outcome.status}: {outcome.release or 'no model yet'}")
            if outcome.probation:
                _watch(settings, service, tell)
        except UsageError:
            raise
        except (PocketlensError, OSError) as error:
            failures += 1
            if service.keep_going():
                service.status(describe(error))
                _log.warning("%s", describe(error))
        service.wait(_pause(failures, every) * random.uniform(1 - _JITTER, 1 + _JITTER))


def _pause(failures: int, every: float) -> float:
    """Seconds until the next look, after so many failures in a row."""
    return every if not failures else min(every, _FIRST_PAUSE_S * 2.0 ** min(failures - 1, 20))


def _watch(settings: UpdateSettings, service: Service, tell: Callable[[UpdateOutcome], object]) -> None:
    with open_slot(settings.folder) as slot:
        judged = _judge(slot, lambda: not service.keep_going())
    if judged is not None:
        tell(judged)


def _judge(slot: Slot, stopped: Callable[[], bool]) -> UpdateOutcome | None:
    """Watch over the probation of the installed model, if it has one; an outcome where it was rolled back."""
    if slot.probation is None:
        return None
    tried = slot.current
    found = watch_probation(slot, stopped)
    return UpdateOutcome(ROLLED_BACK, slot.current, tried, found.reason) if found.state == ROLLED_BACK else None


def _left(slot: Slot) -> float:
    return slot.probation.left if slot.probation else 0.0


def _install(
    slot: Slot, client: UpdateClient, offer: Offer, settings: UpdateSettings, keep_going: Callable[[], bool]
) -> InstallResult:
    slot.check_room(offer.length)
    with progress(offer.length, f"fetching {offer.app} {offer.version}") as bar:

        def arrived(count: int) -> None:
            bar.update(count)
            if not keep_going():
                raise _StoppedError("stopped; the next update goes on from here")

        candidate = client.fetch(offer, arrived)
    return install(
        slot,
        candidate,
        _release(offer),
        allow_new_labels=settings.allow_new_labels,
        canaries=settings.canaries,
        probation=settings.probation,
    )


def _release(offer: Offer) -> Release:
    notes = {**offer.notes, "forced": offer.forced} if offer.forced else dict(offer.notes)
    return Release(offer.app, offer.version, offer.name, offer.sha256, notes)


def _checks(result: InstallResult) -> str:
    canaries = f", {result.right} of {result.canaries} canaries right" if result.canaries else ""
    return f"{result.selftest}{canaries}".strip(", ")
