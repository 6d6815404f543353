"""The private keys of a repository: a file for each, of the owner's only, outside the folder that is served.

The keys of root and targets are needed by a person now and then. Their files are encrypted: PKCS #12 with AES-256 and
600,000 rounds of PBKDF2, which `openssl pkcs12` reads too. The keys of snapshot and timestamp are needed by a timer
every day. Their files are PEM, readable by their owner.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import PrivateFormat, load_pem_private_key, pkcs12
from securesystemslib.signer import CryptoSigner

from runtime.files import open_regular_file, read_stream, shown

from ..errors import RepositoryError

OFFLINE_ROLES = ("root", "targets")
ONLINE_ROLES = ("snapshot", "timestamp")
ROLES = (*OFFLINE_ROLES, *ONLINE_ROLES)
_ROUNDS = 600_000
_ENCRYPTED, _PLAIN = ".p12", ".pem"
_MAX_BYTES = 2**16
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def default_key_folder() -> Path:
    """Where keys lie unless a folder is named: pocketlens/keys in $XDG_CONFIG_HOME or ~/.config."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".config") / "pocketlens" / "keys"  # noqa: PTH117


class KeyFolder:
    """A folder with private keys, which belongs to its owner alone. It may hold the keys of several repositories.

    Args:
        folder: the folder; `create` makes it.
        passphrase: called at most once, when a key is encrypted or decrypted; "" writes keys without encryption.

    Attributes:
        folder: the folder.
    """

    def __init__(self, folder: Path, passphrase: Callable[[], str]) -> None:
        self.folder = folder
        self._ask = passphrase
        self._passphrase: str | None = None

    def create(self, role: str) -> CryptoSigner:
        """Make a key for a role and write its file.

        Raises:
            RepositoryError: others may use the folder.
            OSError: the file cannot be written.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_mode(self.folder, self.folder.stat().st_mode, "700")
        private = Ed25519PrivateKey.generate()
        signer = CryptoSigner(private)
        content, suffix = self._encoded(role, private, signer)
        path = self._path(role, signer.public_key.keyid, suffix)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
        return signer

    def find(self, role: str, keyids: list[str]) -> CryptoSigner | None:
        """The key of a role, or None if the folder has none of these.

        Raises:
            RepositoryError: the file is damaged, others may read it, or the passphrase is not its own.
        """
        for keyid in keyids:
            for suffix in (_PLAIN, _ENCRYPTED):
                path = self._path(role, keyid, suffix)
                if path.exists():
                    return self._load(path, keyid)
        return None

    def has(self, role: str, keyids: list[str]) -> bool:
        """Whether there is a file for one of these keys; it is not opened."""
        return any(self._path(role, keyid, suffix).exists() for keyid in keyids for suffix in (_PLAIN, _ENCRYPTED))

    def _path(self, role: str, keyid: str, suffix: str) -> Path:
        return self.folder / f"{role}-{keyid[:16]}{suffix}"

    def _encoded(self, role: str, private: Ed25519PrivateKey, signer: CryptoSigner) -> tuple[bytes, str]:
        passphrase = self._secret() if role in OFFLINE_ROLES else b""
        if not passphrase:
            return signer.private_bytes, _PLAIN
        encryption = (
            PrivateFormat.PKCS12.encryption_builder()
            .kdf_rounds(_ROUNDS)
            .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
            .hmac_hash(hashes.SHA256())
            .build(passphrase)
        )
        name = f"pocketlens {role}".encode()
        return pkcs12.serialize_key_and_certificates(name, private, None, None, encryption), _ENCRYPTED

    def _load(self, path: Path, keyid: str) -> CryptoSigner:
        name = shown(path)
        with open_regular_file(path, RepositoryError) as file:
            _check_mode(path, os.fstat(file.fileno()).st_mode, "600")
            content = read_stream(file, _MAX_BYTES, RepositoryError, name)
        try:
            private = (
                load_pem_private_key(content, None)
                if path.suffix == _PLAIN
                else pkcs12.load_pkcs12(content, self._secret()).key
            )
        except (ValueError, TypeError) as error:
            cure = "damaged" if path.suffix == _PLAIN else "another passphrase, or damaged"
            raise RepositoryError(f"{name}: the key cannot be read: {cure}") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise RepositoryError(f"{name}: no Ed25519 key")
        signer = CryptoSigner(private)
        if signer.public_key.keyid != keyid:
            raise RepositoryError(f"{name}: holds another key than its name says")
        return signer

    def _secret(self) -> bytes:
        if self._passphrase is None:
            self._passphrase = self._ask()
        return self._passphrase.encode()


def _check_mode(path: Path, mode: int, wanted: str) -> None:
    if mode & _OTHERS:
        raise RepositoryError(
            f"{shown(path)}: others may use this secret (mode {stat.S_IMODE(mode):o}); chmod {wanted} {shown(path)}"
        )
