"""The device's side of The Update Framework: trusted metadata, and model files that it vouches for.

python-tuf's client does the verification: signatures and thresholds, the chain of roots, versions that only grow,
snapshots that fit together, expiry, lengths and digests. Here are its limits, its way to the files, its clock, the root
that a device trusts first, and what is said when something is refused.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from securesystemslib.exceptions import StorageError
from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, Signed, Timestamp
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from ..deployment.slot import INCOMING_NAME, digest_of
from ..errors import UpdateError
from ..files import read_regular_file, shown, write_whole
from ..model_file import MAX_MODEL_BYTES
from .clock import MachineClock, UpdateClock
from .releases import SIGNED_AT, Offer, check_app_name, offers_of
from .transport import MissingFileError, TransferError, Transport

_log = logging.getLogger(__name__)

ROOT_NAME, _PARTIAL = "root.json", ".partial"
_MAX_ROOT_BYTES = 2**16
_LIMITS = UpdaterConfig(
    max_root_rotations=1024,
    max_delegations=0,
    root_max_length=_MAX_ROOT_BYTES,
    timestamp_max_length=2**13,
    snapshot_max_length=2**16,
    targets_max_length=2**20,
)
_FIRST_ROOT = "metadata/1.root.json"
_METADATA, _TARGETS = "metadata/", "targets/"
_ASK_FOR_TRUST = (
    "nothing is trusted yet; name the repository's root.json, from a way that you trust, by `root`, or accept what is "
    "there now by `trust_on_first_use`"
)


def fingerprint(root: bytes) -> str:
    """What people compare of a root.json: the SHA-256 of its bytes, in groups.

    Example:
        >>> fingerprint(b"")
        'e3b0c442 98fc1c14 9afbf4c8 996fb924 27ae41e4 649b934c a495991b 7852b855'
    """
    digest = hashlib.sha256(root).hexdigest()
    return " ".join(digest[at : at + 8] for at in range(0, len(digest), 8))


def read_root(path: Path) -> bytes:
    """The root metadata in a file, which its own keys have signed.

    Raises:
        UpdateError: it is something else, or cannot be read.
    """
    content = read_regular_file(path, _MAX_ROOT_BYTES, UpdateError)[0]
    check_root(content, shown(path))
    return content


def check_root(content: bytes, origin: str) -> None:
    """Raise UpdateError unless this is root metadata that its own keys have signed."""
    try:
        metadata = Metadata[Root].from_bytes(content)
        metadata.signed.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
    except (exceptions.RepositoryError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UpdateError(f"{origin}: not a root.json that is signed by its own keys") from error


class UpdateClient:
    """The verified view of a repository that one device has of one application.

    Args:
        transport: where the repository is.
        app: the application.
        folder: the application's folder on the device; `update/` in it holds trusted metadata and a file that is on
            its way, `incoming/` gets complete files.
        root: the repository's root.json, which a device trusts at first; by default the `root.json` in `folder`.
        trust_on_first_use: where no root is known, trust the one that is there at the first call.
        machine: the machine's clock.

    Raises:
        UsageError: `app` cannot be a name.
        UpdateError: no root is trusted, or another one than `root` is.
        OSError: the folder cannot be written.
    """

    def __init__(
        self,
        transport: Transport,
        app: str,
        folder: Path,
        *,
        root: Path | None = None,
        trust_on_first_use: bool = False,
        machine: MachineClock | None = None,
    ) -> None:
        self._transport = transport
        self._app = check_app_name(app)
        self._state = folder / "update"
        self._incoming = folder / INCOMING_NAME
        (self._state / "metadata").mkdir(parents=True, exist_ok=True)
        self._trusted = _trusted_root(self._state / ROOT_NAME, _root_file(folder, root), transport, trust_on_first_use)
        self._clock = UpdateClock(self._state / "clock.json", machine)
        #: Versions of the trusted metadata, by role; empty before `offers`.
        self.versions: dict[str, int] = {}

    def offers(self) -> list[Offer]:
        """The application's releases by fresh metadata, the newest first.

        Raises:
            UpdateError: the repository cannot be reached, or its metadata is refused.
            OSError: the metadata cannot be stored.
        """
        updater = None
        try:
            with _in_plain_words(self._transport.name, self._clock):
                updater = _ClockedUpdater(
                    str(self._state / "metadata"),
                    _METADATA,
                    fetcher=_Fetcher(self._transport),
                    config=_LIMITS,
                    bootstrap=self._trusted,
                    clock=self._clock,
                )
                updater.refresh()
        finally:
            self._clock.save()
        self.versions = updater.versions
        return offers_of(updater.targets, self._app)

    def fetch(self, offer: Offer, progress: Callable[[int], object] = lambda _bytes: None) -> Path:
        """The model file of a release, complete and verified, in `incoming/`.

        A download that was interrupted is continued.

        Args:
            progress: called with the bytes that have arrived, again and again.

        Raises:
            UpdateError: the file cannot be fetched, or is not what was signed.
            OSError: it cannot be written.
        """
        if offer.length > MAX_MODEL_BYTES:
            raise UpdateError(f"release {offer.version} of {self._app}: {offer.length:,} bytes, too large for a model")
        partial = self._state / f"{offer.sha256}{_PARTIAL}"
        for other in self._state.glob(f"*{_PARTIAL}"):
            if other != partial:
                other.unlink()
        self._incoming.mkdir(exist_ok=True)
        complete = self._incoming / f"{offer.sha256}.tflite"
        if digest_of(complete) != offer.sha256:  # it may have been refused before
            self._download(offer, partial, progress)
            partial.replace(complete)
        for other in self._incoming.iterdir():
            if other != complete:
                other.unlink()
        return complete

    def _download(self, offer: Offer, partial: Path, progress: Callable[[int], object]) -> None:
        with partial.open("ab") as file:
            start = file.tell() if file.tell() < offer.length else 0
            file.truncate(start)
            for chunk in self._transport.chunks(offer.file_path, offer.length, start):
                if not chunk:  # the server begins at the first byte
                    file.truncate(0)
                file.write(chunk)
                progress(len(chunk))
            file.flush()
            os.fsync(file.fileno())
        if partial.stat().st_size != offer.length or digest_of(partial) != offer.sha256:
            size = partial.stat().st_size
            partial.unlink()
            raise UpdateError(
                f"{self._transport.name}: the file of release {offer.version} of {self._app} is not what was signed "
                f"({size:,} of {offer.length:,} bytes, or others); the installed model stays"
            )


def _root_file(folder: Path, root: Path | None) -> Path | None:
    """The root.json that is given, or the one that lies in the application's folder, put there by a bundle."""
    if root is not None:
        return root
    beside = folder / ROOT_NAME
    return beside if beside.exists() else None


def _trusted_root(stored: Path, given: Path | None, transport: Transport, trust_on_first_use: bool) -> bytes:
    """The root metadata that trust begins with; at the first time it is stored and its fingerprint is said."""
    wanted = None if given is None else read_regular_file(given, _MAX_ROOT_BYTES, UpdateError)[0]
    if stored.exists():
        known = read_regular_file(stored, _MAX_ROOT_BYTES, UpdateError)[0]
        if wanted is not None and wanted != known:
            raise UpdateError(
                f"{shown(given)}: this device trusts another root ({fingerprint(known)[:17]} ...); to begin anew, "
                f"remove the folder {shown(stored.parent)}"
            )
        return known
    origin = shown(given)
    if wanted is None:
        if not trust_on_first_use:
            raise UpdateError(f"{shown(stored.parent.parent)}: {_ASK_FOR_TRUST}")
        origin = f"{transport.name}, at the first use"
        wanted = b"".join(transport.chunks(_FIRST_ROOT, _MAX_ROOT_BYTES))
    check_root(wanted, origin)
    write_whole(stored, wanted)
    _log.info("trusting the root of %s; its fingerprint: %s", origin, fingerprint(wanted))
    return wanted


class _Fetcher(FetcherInterface):
    """Lets python-tuf's client read by a transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _fetch(self, url: str) -> Iterator[bytes]:
        raise NotImplementedError("`download_file` is used")

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[io.BytesIO]:
        """A metadata file, whose length is bounded."""
        try:
            yield io.BytesIO(b"".join(self._transport.chunks(url, max_length)))
        except MissingFileError as error:
            raise exceptions.DownloadHTTPError(str(error), 404) from error
        except TransferError as error:
            raise exceptions.DownloadError(str(error)) from error


class _ClockedUpdater(Updater):
    """python-tuf's client, with a reference time of its own.

    It relies on two private names of version 7: `_trusted_set.reference_time`, and `_load_timestamp`, which is called
    after the last root and before anything expires. `pyproject.toml` holds the version, and a test the behaviour.
    """

    def __init__(self, *args: Any, clock: UpdateClock, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._clock = clock

    @property
    def targets(self) -> Any:
        """The verified targets metadata."""
        return self._trusted_set.targets

    @property
    def versions(self) -> dict[str, int]:
        """The version of each verified role."""
        return {role.type: role.version for role in self._trusted_set}

    def _load_timestamp(self) -> None:
        root = self._trusted_set.root
        keys = hashlib.sha256("".join(sorted(root.roles[Timestamp.type].keyids)).encode()).hexdigest()
        self._learn(root, keys)
        try:
            super()._load_timestamp()
        finally:
            timestamp = self._trusted_set.get(Timestamp.type)
            if timestamp is not None:  # its signature was verified, even where it has expired
                self._learn(timestamp, keys)

    def _learn(self, signed: Signed, keys: str) -> None:
        created = signed.unrecognized_fields.get(SIGNED_AT)
        if type(created) is int and 0 < created <= signed.expires.timestamp():
            self._clock.learn(float(created), keys)
        self._trusted_set.reference_time = self._clock.reference().moment()


@contextmanager
def _in_plain_words(name: str, clock: UpdateClock) -> Iterator[None]:
    """What python-tuf refuses, as a line that says what is wrong and what helps."""
    try:
        yield
    except exceptions.ExpiredMetadataError as error:
        now = clock.reference()
        cure = "set the clock if it is wrong; if not, the" if now.is_system_clock else "the"
        raise UpdateError(
            f"{name}: {str(error).removeprefix('Final ').removeprefix('New ')}: it is {now}; {cure} repository must be "
            "renewed, by `pocketlens repo refresh`"
        ) from error
    except exceptions.UnsignedMetadataError as error:
        text = "not signed by the keys that this device trusts; the installed model stays"
        raise UpdateError(f"{name}: {_words(error)}: {text}") from error
    except exceptions.BadVersionNumberError as error:
        text = "older than what this device has seen, or parts of two states; the installed model stays"
        raise UpdateError(f"{name}: {text} ({_words(error)})") from error
    except (exceptions.DownloadError, TransferError) as error:
        raise UpdateError(_words(error)) from error
    except (exceptions.RepositoryError, StorageError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UpdateError(f"{name}: damaged metadata, which is refused ({_words(error)})") from error


def _words(error: BaseException) -> str:
    return shown(" ".join(str(error).split()))[:300]
