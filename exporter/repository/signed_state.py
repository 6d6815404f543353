"""The signed metadata of a repository: read, checked, signed anew, and put into effect by one renaming.

A change writes new files only: models under names with their digest, metadata under names with its version. Then
`timestamp.json` is renamed into place, and readers see the new state. A kill before that leaves the old state, and
files that nothing names; the next change writes over them. A new root takes effect by its own name, so it comes last,
and what it vouches for is signed by the old keys too.

Metadata that is amended must verify by the key that signs its successor. So somebody who changes files on the web
server cannot have them signed by the next change.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import CryptoSigner
from tuf.api import exceptions
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from runtime.files import read_regular_file, shown, write_whole
from runtime.update.releases import SIGNED_AT

from ..errors import RepositoryError
from .keys import OFFLINE_ROLES, ONLINE_ROLES, ROLES, KeyFolder

_DAY_S = 86_400
#: Earlier states of the metadata that stay on the disk, for readers that have begun with them.
_KEPT_STATES = 10
_MAX_BYTES = 2**20
_KINDS = {"root": Root, "targets": Targets, "snapshot": Snapshot, "timestamp": Timestamp}


class SignedState:
    """The metadata of the four roles, as it is in effect or about to be.

    Args:
        folder: the repository.
        keys: the folder with the keys.

    Attributes:
        root: the newest root.
        targets: the targets.
        changed: the roles that were signed since `load` or `begin`.
    """

    def __init__(self, folder: Path, keys: KeyFolder) -> None:
        self.folder = folder
        self.changed: list[str] = []
        self._keys = keys
        self._metadata: dict[str, Metadata[Any]] = {}
        self._signers: dict[str, CryptoSigner] = {}

    @property
    def root(self) -> Root:
        """The newest root."""
        root: Root = self._metadata["root"].signed
        return root

    @property
    def targets(self) -> Targets:
        """The targets."""
        targets: Targets = self._metadata["targets"].signed
        return targets

    def signed(self, role: str) -> Any:
        """What the metadata of a role says."""
        return self._metadata[role].signed

    def keyids(self, role: str) -> list[str]:
        """The ids of the keys of a role."""
        return list(self.root.roles[role].keyids)

    def begin(self, days: Mapping[str, float]) -> None:
        """The first, empty state, with new keys.

        Args:
            days: days until the metadata of each role expires.
        """
        self._signers = {role: self._keys.create(role) for role in ROLES}
        now = int(time.time())
        for role, kind in _KINDS.items():
            signed = kind(expires=moment(now + days[role] * _DAY_S))
            signed.unrecognized_fields[SIGNED_AT] = now
            self._metadata[role] = Metadata(signed)
        self.root.consistent_snapshot = True
        for role, signer in self._signers.items():
            self.root.add_key(signer.public_key, role)
        for role in OFFLINE_ROLES:
            self.sign(role, renumber=False)
        self.sign_online(renumber=False)

    def load(self) -> None:
        """Read the state that the timestamp names, and the newest root.

        Raises:
            RepositoryError: a file is missing or damaged, or the machine's clock is behind the metadata.
        """
        self.changed.clear()
        version = 1
        while (self.folder / "metadata" / f"{version + 1}.root.json").exists():
            version += 1
        try:
            self._metadata["root"] = self._parsed("root", f"{version}.root.json")
            timestamp = self._metadata["timestamp"] = self._parsed("timestamp", "timestamp.json")
            number = timestamp.signed.snapshot_meta.version
            snapshot = self._metadata["snapshot"] = self._parsed("snapshot", f"{number}.snapshot.json")
            number = snapshot.signed.meta["targets.json"].version
            self._metadata["targets"] = self._parsed("targets", f"{number}.targets.json")
            newest = max(_signed_at(self.signed(role)) for role in ROLES)
        except (exceptions.RepositoryError, ValueError, KeyError, AttributeError) as error:
            raise RepositoryError(f"{shown(self.folder)}: its metadata is damaged: {error}; restore a copy") from error
        if newest > time.time() + _DAY_S:
            raise RepositoryError(
                f"{shown(self.folder)}: signed at {moment(newest):%Y-%m-%d %H:%M}Z, later than this machine's clock "
                "says; set the clock"
            )

    def take_keys(self, *offline: str) -> None:
        """Open the keys that a change needs, and refuse metadata that they did not sign.

        Args:
            offline: the roles whose metadata is changed, of root and targets. By the key of root alone, a lost key of
                another role can be replaced.

        Raises:
            RepositoryError: a key is missing, or somebody has changed the metadata.
        """
        by_root = "root" in offline
        wanted = [role for role in ONLINE_ROLES if not by_root or self._keys.has(role, self.keyids(role))]
        self._signers = {role: self.key(role) for role in (*offline, *wanted)}
        for role, signer in self._signers.items():
            self._check(role, signer)
        if by_root:
            try:
                for role in ROLES[1:]:
                    self.root.verify_delegate(role, self._metadata[role].signed_bytes, self._metadata[role].signatures)
            except exceptions.RepositoryError as error:
                raise RepositoryError(f"{shown(self.folder)}: {error}; restore a copy") from error

    def key(self, role: str) -> CryptoSigner:
        """The key of a role; raises RepositoryError if it is not at hand."""
        found = self._keys.find(role, self.keyids(role))
        if found is None:
            keyid = ", ".join(keyid[:16] for keyid in self.keyids(role))
            raise RepositoryError(
                f"{shown(self._keys.folder)}: the key of {role} ({keyid}) is not there; name the folder that has it by "
                "`keys`, or give the role a new one by `pocketlens repo rotate-key`"
            )
        return found

    def replace_key(self, role: str) -> None:
        """Give a role a new key, and sign what must be signed by it; by the old key too, if it is at hand."""
        old = self._keys.find(role, self.keyids(role))
        new = self._signers[role] = self._keys.create(role)
        for keyid in self.keyids(role):
            self.root.revoke_key(keyid, role)
        self.root.add_key(new.public_key, role)
        also = {} if old is None else {role: old}
        self.sign("root", also)
        if role == "targets":
            self.sign(role, also)
        if role != "root":
            self.sign_online(also, with_snapshot=role != "timestamp")

    def sign(self, role: str, also: Mapping[str, CryptoSigner] | None = None, *, renumber: bool = True) -> None:
        """Sign the metadata of a role as its next version, valid as long as the last one was.

        Args:
            role: the role.
            also: further keys that sign, by role.
            renumber: whether it is another version than before.
        """
        metadata, now = self._metadata[role], int(time.time())
        signed = metadata.signed
        if renumber:
            span = signed.expires.timestamp() - _signed_at(signed)
            signed.version += 1
            signed.expires = moment(now + span)
            signed.unrecognized_fields[SIGNED_AT] = now
        self.changed.append(role)
        metadata.sign(self._signers.get(role) or self.key(role))
        if also and role in also:
            metadata.sign(also[role], append=True)

    def sign_online(
        self,
        also: Mapping[str, CryptoSigner] | None = None,
        *,
        with_snapshot: bool = False,
        renumber: bool = True,
    ) -> None:
        """Sign the timestamp, and before it the snapshot, where it must change or is half through its time."""
        snapshot, timestamp = self.signed("snapshot"), self.signed("timestamp")
        age, span = time.time() - _signed_at(snapshot), snapshot.expires.timestamp() - _signed_at(snapshot)
        if with_snapshot or "targets" in self.changed or age > span / 2:
            if "targets" in self.changed:
                snapshot.meta["targets.json"] = self._meta("targets")
            self.sign("snapshot", also, renumber=renumber)
            timestamp.snapshot_meta = self._meta("snapshot")
        self.sign("timestamp", also, renumber=renumber)

    def publish(self) -> None:
        """Put into effect what was signed: the timestamp after all that it names, a new root as the very last.

        Raises:
            OSError: a file cannot be written; the state before is in effect.
        """
        with ExitStack() as last:
            if "root" in self.changed:
                if self.root.version > 1:
                    last.callback(self._publish_root)
                else:
                    self._publish_root()
            for role in ("targets", "snapshot"):
                if role in self.changed:
                    self._write(f"{self.signed(role).version}.{role}.json", self._metadata[role].to_bytes())
            if "timestamp" in self.changed:
                self._write("timestamp.json", self._metadata["timestamp"].to_bytes())
        self._remove_old()

    def read(self, name: str) -> bytes:
        """The bytes of a metadata file."""
        return read_regular_file(self.folder / "metadata" / name, _MAX_BYTES, RepositoryError)[0]

    def _publish_root(self) -> None:
        content = self._metadata["root"].to_bytes()
        self._write(f"{self.root.version}.root.json", content)
        self._write("root.json", content)

    def _write(self, name: str, content: bytes) -> None:
        write_whole(self.folder / "metadata" / name, content, durable=True)

    def _remove_old(self) -> None:
        """Remove metadata that no reader can be at any more, and what killed changes have left."""
        for role in ("targets", "snapshot"):
            newest = self.signed(role).version
            for path in (self.folder / "metadata").glob(f"*.{role}.json"):
                number = path.name.partition(".")[0]
                if number.isdecimal() and int(number) <= newest - _KEPT_STATES:
                    path.unlink(missing_ok=True)
        for path in self.folder.glob("**/.*.partial-*"):
            path.unlink(missing_ok=True)

    def _meta(self, role: str) -> MetaFile:
        metadata = self._metadata[role]
        content = metadata.to_bytes()
        return MetaFile(metadata.signed.version, len(content), {"sha256": sha256(content).hexdigest()})

    def _parsed(self, role: str, name: str) -> Metadata[Any]:
        metadata: Metadata[Any] = Metadata.from_bytes(self.read(name))
        if metadata.signed.type != role:
            raise ValueError(f"{name} holds {metadata.signed.type}")
        return metadata

    def _check(self, role: str, signer: CryptoSigner) -> None:
        """Refuse to go on from metadata that was not signed by the key at hand."""
        metadata = self._metadata[role]
        signature = metadata.signatures.get(signer.public_key.keyid)
        try:
            if signature is None:
                raise exceptions.UnsignedMetadataError("no signature of it")
            signer.public_key.verify_signature(signature, metadata.signed_bytes)
        except (exceptions.RepositoryError, VerificationError, UnverifiedSignatureError) as error:
            raise RepositoryError(
                f"{shown(self.folder)}: the metadata of {role} was not signed by its key, so somebody has changed it; "
                "restore a copy"
            ) from error


def moment(seconds: float) -> datetime:
    """A time in seconds since 1970, as metadata has it: whole seconds, UTC."""
    return datetime.fromtimestamp(int(seconds), timezone.utc)


def _signed_at(signed: Any) -> float:
    created = signed.unrecognized_fields.get(SIGNED_AT)
    if type(created) is not int or not 0 < created < signed.expires.timestamp():
        raise ValueError(f"{signed.type} does not say when it was signed")
    return float(created)
