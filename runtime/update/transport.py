"""Files of a repository, over HTTP or from a folder: bounded in bytes and in time, by Python's library alone."""

from __future__ import annotations

import http.client
import os
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from .._version import __version__
from ..errors import UpdateError, UsageError
from ..files import open_regular_file, shown

_CHUNK = 2**16
#: Seconds without a byte after which a server is given up.
_SILENCE_S = 15.0
#: A file may take this long, and in addition its bytes at this speed. Both are generous for a telephone network.
_START_S, _LEAST_BYTES_A_SECOND = 20.0, 4_000
_MAX_REDIRECTS = 5
_PARTIAL, _MISSING = 206, (403, 404, 410)


class TransferError(UpdateError):
    """A file of a repository could not be fetched."""


class MissingFileError(TransferError):
    """The repository has no such file."""


class Transport(Protocol):
    """A place that files are fetched from."""

    name: str
    received: int
    requests: int

    def chunks(self, path: str, limit: int, offset: int = 0) -> Iterator[bytes]:
        """The bytes of a file, in pieces.

        Args:
            path: its place below the repository, such as `metadata/timestamp.json`.
            limit: the largest number of bytes, those before `offset` included.
            offset: where to begin. A server may not be able to; then the first piece is empty, and all bytes follow.

        Raises:
            MissingFileError: there is none.
            TransferError: it is larger, too slow, or cannot be read.
        """
        ...


def open_transport(source: str) -> Transport:
    """The transport for an `http://` or `https://` address, or for a folder.

    Raises:
        UsageError: it is neither.
        UpdateError: there is no such folder.
    """
    if "://" not in source:
        return FolderTransport(Path(source))
    parts = urllib.parse.urlsplit(source)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(
            f"`source` is {shown(source)[:200]!r}, expected a folder or an address like https://host/models"
        )
    if "@" in parts.netloc:
        raise UsageError("`source` holds a user name or a password, which every process of the machine could read")
    return HttpTransport(source)


class FolderTransport:
    """Files of a folder, such as one on a USB stick.

    Attributes:
        received: bytes read so far.
        requests: files read so far.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UpdateError(f"{shown(folder)}: no such folder; name the repository's folder or its address")
        self.name = shown(folder)
        self.received = self.requests = 0
        self._folder = folder

    def chunks(self, path: str, limit: int, offset: int = 0) -> Iterator[bytes]:
        """As `Transport.chunks`."""
        place = self._folder / path
        if not place.exists():
            raise MissingFileError(f"{shown(place)}: no such file")
        with open_regular_file(place, TransferError) as file:
            self.requests += 1
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise TransferError(f"{shown(place)}: {size:,} bytes, at most {limit:,} are allowed")
            file.seek(offset)
            left = size - offset
            while left > 0:
                try:
                    chunk = file.read(min(_CHUNK, left))
                except OSError as error:  # a damaged card
                    raise TransferError(f"{shown(place)}: cannot be read: {error.strerror}") from error
                if not chunk:
                    return
                left -= len(chunk)
                self.received += len(chunk)
                yield chunk


class HttpTransport:
    """Files of a web server.

    Args:
        address: of the repository.
        silence: seconds without a byte after which the server is given up.
        start: seconds that a file may take in addition to its bytes at the least speed.

    Attributes:
        received: bytes of bodies received so far.
        requests: requests made so far, redirections included.
    """

    def __init__(self, address: str, *, silence: float = _SILENCE_S, start: float = _START_S) -> None:
        self.name = address
        self.received = self.requests = 0
        self._base = address.rstrip("/")
        self._silence, self._start = silence, start

    def chunks(self, path: str, limit: int, offset: int = 0) -> Iterator[bytes]:
        """As `Transport.chunks`."""
        address = f"{self._base}/{urllib.parse.quote(path)}"
        headers = {"User-Agent": f"pocketlens/{__version__}", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        seconds = self._start + limit / _LEAST_BYTES_A_SECOND
        with _deadline(seconds) as deadline:
            try:
                yield from self._read(urllib.request.Request(address, headers=headers), deadline, limit, offset)
            except urllib.error.HTTPError as error:
                kind = MissingFileError if error.code in _MISSING else TransferError
                error.close()
                where = ", a redirection that is not followed" if 300 <= error.code < 400 else ""
                raise kind(f"{shown(address)}: the server answers {error.code}{where}") from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                if isinstance(error, UpdateError):
                    raise
                reason = getattr(error, "reason", error)
                slow = deadline.passed or isinstance(reason, TimeoutError)
                text = f"no answer within {seconds:g} s" if deadline.passed else "no answer in time"
                raise TransferError(f"{shown(address)}: {text if slow else shown(_reason(reason))}") from error

    def _read(self, request: urllib.request.Request, deadline: _Deadline, limit: int, offset: int) -> Iterator[bytes]:
        with _opener(deadline, self).open(request, timeout=self._silence) as response:
            total = 0
            if offset and response.status == _PARTIAL:
                total = offset
            elif offset:
                yield b""
            while chunk := response.read1(_CHUNK):
                total += len(chunk)
                self.received += len(chunk)
                if total > limit:
                    raise TransferError(f"{shown(request.full_url)}: more than the {limit:,} bytes that are allowed")
                yield chunk
            if deadline.passed:  # a connection that was shut down looks like the end of the file
                raise TimeoutError


def _reason(error: object) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


class _Deadline:
    """Shuts a connection down when the time has passed, wherever it waits: in the handshake, the head or the body."""

    def __init__(self) -> None:
        self.passed = False
        self._sockets: list[socket.socket] = []

    def watch(self, connected: socket.socket) -> None:
        # TLS takes the socket over; another descriptor of the same connection stays ours.
        self._sockets.append(connected.dup())

    def shut(self) -> None:
        self.passed = True
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for one in self._sockets:
            one.close()


@contextmanager
def _deadline(seconds: float) -> Iterator[_Deadline]:
    deadline = _Deadline()
    timer = threading.Timer(seconds, deadline.shut)
    timer.daemon = True
    timer.start()
    try:
        yield deadline
    finally:
        timer.cancel()
        timer.join()
        deadline.close()


class _Connection(http.client.HTTPConnection):
    """A connection that a deadline watches."""

    deadline: _Deadline

    def connect(self) -> None:
        super().connect()
        self.deadline.watch(self.sock)


class _SafeConnection(http.client.HTTPSConnection, _Connection):
    """The same over TLS: the handshake comes after `_Connection.connect`."""


class _Handler(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Opens connections that are watched."""

    def __init__(self, deadline: _Deadline, counted: HttpTransport) -> None:
        super().__init__()
        self._watch_by, self._counted = deadline, counted

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self._open(request, _Connection)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self._open(request, _SafeConnection)

    def _open(self, request: urllib.request.Request, kind: type[_Connection]) -> http.client.HTTPResponse:
        def connection(host: str, **settings: Any) -> _Connection:
            made = kind(host, **settings)
            made.deadline = self._watch_by
            return made

        self._counted.requests += 1
        return self.do_open(connection, request)


class _Redirections(urllib.request.HTTPRedirectHandler):
    """Follows a few redirections, and none from https to http."""

    max_redirections = max_repeats = _MAX_REDIRECTS

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:
        if not newurl.startswith("https://" if req.type == "https" else ("http://", "https://")):
            fp.close()
            raise TransferError(f"{shown(req.full_url)}: redirects to {shown(newurl)[:200]}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(deadline: _Deadline, counted: HttpTransport) -> urllib.request.OpenerDirector:
    """An opener that speaks HTTP only, through a proxy where the environment names one."""
    opener = urllib.request.OpenerDirector()
    handlers = (
        *(urllib.request.ProxyHandler(), _Handler(deadline, counted), _Redirections()),
        *(urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor()),
    )
    for handler in handlers:
        opener.add_handler(handler)
    return opener
