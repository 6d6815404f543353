"""The repository as its owner changes it: releases are added, offered to more devices and taken back, keys renewed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from tuf.api.metadata import TargetFile

from runtime.errors import UsageError
from runtime.files import shown, write_whole
from runtime.update.releases import MODEL_TARGET, REPORT_TARGET, Offer, check_app_name, offers_of, stored_path
from runtime.update.rings import FULL_ROLLOUT, rollout_text
from trainer.files import locked

from ..errors import RepositoryError
from .admission import Admitted
from .keys import ROLES, KeyFolder
from .signed_state import SignedState

#: Days until each role's metadata expires, unless the repository was made with another span.
DEFAULT_DAYS = {"root": 730, "targets": 365, "snapshot": 30, "timestamp": 7}
#: Releases of an application that the metadata names.
_KEPT_RELEASES = 20
_LOCK = ".repository.lock"


class Expiry(NamedTuple):
    """How long the metadata of a role is valid.

    Attributes:
        role: the role.
        version: the version of its metadata.
        expires: seconds since 1970.
        has_key: whether its key is in the folder of keys.
    """

    role: str
    version: int
    expires: float
    has_key: bool


class Repository:
    """A repository in a folder.

    Args:
        folder: the folder that is served; `Repository.create` makes one.
        keys: the folder with the keys; a change needs those of the roles that it signs.

    Raises:
        RepositoryError: the folder is no repository, or damaged.
    """

    def __init__(self, folder: Path, keys: KeyFolder) -> None:
        if not (folder / "metadata" / "timestamp.json").is_file():
            raise RepositoryError(f"{shown(folder)}: no repository; `pocketlens repo init` makes one")
        self.folder = folder
        self._keys = keys
        self._state = SignedState(folder, keys)
        self._state.load()
        self._obsolete: list[Path] = []

    @classmethod
    def create(cls, folder: Path, keys: KeyFolder, *, timestamp_days: int = DEFAULT_DAYS["timestamp"]) -> Repository:
        """Make an empty repository and its four keys.

        Args:
            folder: where it will be.
            keys: where its keys will be.
            timestamp_days: days until devices take its state for out of date.

        Raises:
            RepositoryError: the folder holds a repository, or the keys would lie in it.
            OSError: it cannot be written.
        """
        if keys.folder.resolve().is_relative_to(folder.resolve()):
            raise RepositoryError(
                f"{shown(keys.folder)}: keys must not lie in the folder that is served; name another by `keys`"
            )
        with _locked(folder):
            if any((folder / "metadata").glob("timestamp.json")):
                raise RepositoryError(f"{shown(folder)}: holds a repository already; name another folder")
            state = SignedState(folder, keys)
            state.begin({**DEFAULT_DAYS, "timestamp": timestamp_days})
            state.publish()
        return cls(folder, keys)

    @property
    def first_root(self) -> bytes:
        """The first root.json, which devices trust at first; its fingerprint never changes."""
        return self._state.read("1.root.json")

    def offers(self, app: str | None = None) -> list[Offer]:
        """The releases, by application, the newest first."""
        return offers_of(self._state.targets, app)

    def expiries(self) -> list[Expiry]:
        """When the metadata of each role expires, in the order root, targets, snapshot, timestamp."""
        found = []
        for role in ROLES:
            signed, has_key = self._state.signed(role), self._keys.has(role, self._state.keyids(role))
            found.append(Expiry(role, signed.version, signed.expires.timestamp(), has_key))
        return found

    def add(self, app: str, name: str, admitted: Admitted, *, rollout: int = FULL_ROLLOUT) -> Offer:
        """Publish a model as the next release of an application.

        Args:
            app: the application.
            name: the file's name, for people.
            admitted: the model and its report.
            rollout: the share of devices that it is for.

        Raises:
            UsageError: `app` cannot be a name.
            RepositoryError: the model is the newest release already, or a key is missing.
            OSError: a file cannot be written.
        """
        check_app_name(app)
        with self._changing("targets"):
            offers = self.offers(app)
            digest = sha256(admitted.content).hexdigest()
            if offers and offers[0].sha256 == digest and not offers[0].revoked:
                raise RepositoryError(
                    f"{shown(name)}: it is release {offers[0].version} of {app}, the newest, already; to offer it to "
                    "more devices, use `pocketlens repo promote`"
                )
            version = 1 + max((offer.version for offer in offers), default=0)
            offer = Offer(app, version, name[:200], digest, len(admitted.content), rollout)
            offer = offer._replace(forced=admitted.forced, notes=admitted.notes)
            self._store(offer.path, admitted.content, offer.custom())
            if admitted.report:
                self._store(f"{app}/{version}/{REPORT_TARGET}", admitted.report, {"app": app, "version": version})
            self._forget_old(offers)
            self._state.sign("targets")
            self._state.sign_online()
        return offer

    def promote(self, app: str, rollout: int = FULL_ROLLOUT) -> Offer:
        """Offer the newest release of an application to a larger share of devices.

        Raises:
            RepositoryError: there is no release, or it is for more devices already.
        """
        with self._changing("targets"):
            offer = self._newest(app)
            if rollout < offer.rollout:
                raise RepositoryError(
                    f"release {offer.version} of {app} is for {rollout_text(offer.rollout)} of the devices, and "
                    "a share never shrinks; `pocketlens repo revoke` takes a release back"
                )
            return self._amend(offer._replace(rollout=rollout))

    def revoke(self, app: str) -> tuple[Offer, Offer | None]:
        """Take back the newest release of an application: devices go back to the release before.

        Returns:
            The revoked release, and the one that is the newest now.

        Raises:
            RepositoryError: there is no release.
        """
        with self._changing("targets"):
            revoked = self._amend(self._newest(app)._replace(revoked=True))
        return revoked, next((offer for offer in self.offers(app) if not offer.revoked), None)

    def refresh(self, *, renew_all: bool = False) -> list[str]:
        """Sign the timestamp anew, and the snapshot once half of its time is over.

        Args:
            renew_all: also sign root, targets and snapshot anew; that needs the offline keys.

        Returns:
            The roles that were signed.
        """
        roles = ("root", "targets") if renew_all else ()
        with self._changing(*roles):
            for role in roles:
                self._state.sign(role)
            self._state.sign_online()
            return [*self._state.changed]

    def rotate_key(self, role: str) -> str:
        """Give a role a new key; devices follow by themselves.

        What the role has signed is signed by the old key too, if it is at hand, so that no reader is ever shut out. The
        old key's file stays.

        Returns:
            The id of the new key.

        Raises:
            RepositoryError: the key of root is missing.
        """
        if role not in ROLES:
            raise UsageError(f"`role` is {role!r}, expected one of {', '.join(ROLES)}")
        with self._changing("root"):
            self._state.replace_key(role)
        return self._state.keyids(role)[0]

    @contextmanager
    def _changing(self, *offline: str) -> Iterator[None]:
        """Read the newest state under a lock, with the keys that sign what is changed; publish it at the end."""
        with _locked(self.folder):
            self._state.load()
            self._state.take_keys(*offline)
            self._obsolete.clear()
            yield
            self._state.publish()
            for path in self._obsolete:
                path.unlink(missing_ok=True)

    def _newest(self, app: str) -> Offer:
        check_app_name(app)
        found = next((offer for offer in self.offers(app) if not offer.revoked), None)
        if found is None:
            apps = ", ".join(sorted({offer.app for offer in self.offers()})) or "none"
            raise RepositoryError(f"{shown(self.folder)}: no release of {app} to change; its applications: {apps}")
        return found

    def _amend(self, offer: Offer) -> Offer:
        self._state.targets.targets[offer.path].unrecognized_fields["custom"] = offer.custom()
        self._state.sign("targets")
        self._state.sign_online()
        return offer

    def _store(self, path: str, content: bytes, custom: Mapping[str, Any]) -> None:
        target = TargetFile.from_data(path, content, ["sha256"])
        target.unrecognized_fields["custom"] = dict(custom)
        self._state.targets.targets[path] = target
        write_whole(self.folder / stored_path(path, target.hashes["sha256"]), content, durable=True)

    def _forget_old(self, offers: list[Offer]) -> None:
        """Drop the oldest releases from the metadata, but never the newest that is for all devices."""
        for_all = (place for place, offer in enumerate(offers) if offer.rollout == FULL_ROLLOUT and not offer.revoked)
        first = max(_KEPT_RELEASES - 1, 1 + next(for_all, len(offers)))
        for old in offers[first:]:
            for name in (MODEL_TARGET, REPORT_TARGET):
                path = f"{old.app}/{old.version}/{name}"
                target = self._state.targets.targets.pop(path, None)
                if target is not None:
                    self._obsolete.append(self.folder / stored_path(path, target.hashes["sha256"]))


def _locked(folder: Path) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    in_use = RepositoryError(f"{shown(folder)}: another command is changing it; wait for it")
    return locked(folder / _LOCK, in_use)
