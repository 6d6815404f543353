"""What the signed targets metadata says of the releases of an application: written by the repository, read by devices.

A release is two target files, `APP/NUMBER/model.tflite` and `APP/NUMBER/report.json`. The custom field of the model's
target says the rest. The metadata's JSON has no fractions, so shares are whole numbers and figures are texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from tuf.api.metadata import TargetFile, Targets

from ..errors import UsageError
from ..files import shown
from .rings import FULL_ROLLOUT, in_rollout

MODEL_TARGET, REPORT_TARGET = "model.tflite", "report.json"
#: The signed field of each role's metadata with its time of signing, in seconds since 1970.
SIGNED_AT = "created"
_APP = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")
_MAX_NUMBER = 10**9


class Offer(NamedTuple):
    """A release, as the repository offers it.

    Attributes:
        app: the application.
        version: its number, 1 for the first one of the application.
        name: the file's name on the workstation.
        sha256: the digest of the model file.
        length: its bytes.
        rollout: the share of devices that it is for, in units of `FULL_ROLLOUT`.
        revoked: whether devices go back to the release before.
        forced: why the report's gates do not vouch for it; "" where they do.
        notes: further texts, such as its accuracy.
    """

    app: str
    version: int
    name: str
    sha256: str
    length: int
    rollout: int = FULL_ROLLOUT
    revoked: bool = False
    forced: str = ""
    notes: dict[str, str] = {}  # noqa: RUF012 - never changed

    @property
    def path(self) -> str:
        """The model's target path."""
        return f"{self.app}/{self.version}/{MODEL_TARGET}"

    @property
    def identity(self) -> str:
        """What tells it from other releases; it chooses the devices of a share."""
        return f"{self.app}/{self.version}/{self.sha256}"

    @property
    def file_path(self) -> str:
        """The file's place below the repository."""
        return stored_path(self.path, self.sha256)

    def custom(self) -> dict[str, Any]:
        """The custom field of the model's target."""
        fields = ("app", "version", "name", "rollout", "revoked", "forced", "notes")
        return {field: getattr(self, field) for field in fields}

    def is_for(self, device_id: str) -> bool:
        """Whether it is offered to a device."""
        return not self.revoked and in_rollout(device_id, self.identity, self.rollout)


def stored_path(target: str, sha256: str) -> str:
    """Where the file of a target lies: consistent snapshots put its digest before its name."""
    folder, _, name = target.rpartition("/")
    return f"targets/{folder}/{sha256}.{name}"


def check_app_name(app: str) -> str:
    """The name itself; raises UsageError if it cannot be an application's."""
    if not _APP.fullmatch(app):
        raise UsageError(
            f"`app` is {shown(app)[:100]!r}, expected at most 48 lower-case letters, digits, - and _, such as door"
        )
    return app


def offers_of(targets: Targets, app: str | None = None) -> list[Offer]:
    """The releases in verified metadata, by application, the newest first; of one application, if it is named.

    Targets that are no release of the stated application are passed over: whoever signs may sign other files too.
    """
    found = (_offer(target) for target in targets.targets.values())
    offers = [offer for offer in found if offer is not None and app in (None, offer.app)]
    return sorted(offers, key=lambda offer: (offer.app, -offer.version))


def chosen_offer(offers: Iterable[Offer], device_id: str, refused: Iterable[str] = ()) -> Offer | None:
    """The release that a device should have: the newest that is offered to it and that it has not refused.

    Args:
        offers: of one application, the newest first.
        refused: digests of models that were tried on the device and rolled back.
    """
    excluded = frozenset(refused)
    return next((offer for offer in offers if offer.is_for(device_id) and offer.sha256 not in excluded), None)


def _offer(target: TargetFile) -> Offer | None:
    custom, sha256 = target.custom, target.hashes.get("sha256", "")
    if not isinstance(custom, dict) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
        return None
    texts = {name: custom.get(name, "") for name in ("app", "name", "forced")}
    version, rollout, notes = custom.get("version"), custom.get("rollout"), custom.get("notes", {})
    if not all(isinstance(text, str) for text in texts.values()) or not _APP.fullmatch(texts["app"]):
        return None
    if type(version) is not int or not 0 < version < _MAX_NUMBER or type(rollout) is not int:
        return None
    notes = {str(name): str(text) for name, text in notes.items()} if isinstance(notes, dict) else {}
    offer = Offer(
        texts["app"],
        version,
        texts["name"],
        sha256,
        target.length,
        min(max(rollout, 0), FULL_ROLLOUT),
        custom.get("revoked") is not False,
        texts["forced"],
        notes,
    )
    return offer if target.path == offer.path else None
