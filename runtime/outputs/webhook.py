"""Telling a web server: each event by POST as JSON, signed where there is a secret.

A status of 200 to 299 means that the server has the event. No answer, 408, 429 and 500 to 599 are tried again for as
long as it takes. Redirections are not followed, as they could lead a signed event elsewhere; they and all other
statuses are tried five times, and then the event is given up.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import quote

from .._version import __version__
from ..files import shown
from .credentials import OutputSettingError, read_address, read_secret_file
from .event import Event
from .sink import OutputError, Sink, document_of

SECRET_VARIABLE = "POCKETLENS_WEBHOOK_SECRET"
SIGNATURE_HEADER = "X-Pocketlens-Signature-256"
_PORTS = {"http": 80, "https": 443}
#: Seconds for each step of a request, and for the whole of it: a server that answers byte by byte ends here too.
_STEP_TIMEOUT_S = 10.0
_TIMEOUT_S = 30.0
#: Attempts at an event that the server refuses.
_REFUSED_ATTEMPTS = 5
_LONGEST_PAUSE_S = 600.0
_TRY_AGAIN = frozenset((408, 429, *range(500, 600)))


def read_webhook_secret(path: str | None, environment: Mapping[str, str] = os.environ) -> bytes | None:
    """The secret that signs events: the line in a file of the owner's only, else of the environment, else None.

    Raises:
        OutputSettingError: the file is not such a file, or empty.
    """
    if path is None:
        return environment.get(SECRET_VARIABLE, "").encode() or None
    secret = read_secret_file(path).strip()
    if not secret:
        raise OutputSettingError(f"{shown(path)}: empty, expected the secret that signs what is sent")
    return secret.encode()


class WebhookSink(Sink):
    """Posts events to a web server.

    Args:
        url: `http://host/path` or `https://host/path`.
        secret: signs each body: the header `X-Pocketlens-Signature-256` is `sha256=` and its HMAC-SHA256 in
            hexadecimal digits; None sends no signature.

    Raises:
        OutputSettingError: the address is not usable.
    """

    kind = "webhook"

    def __init__(self, url: str, secret: bytes | None = None) -> None:
        cure = f"sign events with ${SECRET_VARIABLE} instead"
        self._address = read_address(url, "webhook", _PORTS, "https://example.org/hook", cure)
        path = quote(self._address.path or "/", safe="/%:@!$&'()*+,;=~")
        self._target = f"{path}?{quote(self._address.query, safe='/%:@!$&*+,;=~?')}" if self._address.query else path
        # Path and query may hold a token, which has no place in a log.
        self.name = f"{self._address.scheme}://{self._address.host}:{self._address.port}"
        self._secret = secret
        self._tls = ssl.create_default_context() if self._address.scheme == "https" else None

    def send(self, number: int, event: Event) -> None:
        body = json.dumps(document_of(number, event)).encode()
        headers = {"Content-Type": "application/json", "User-Agent": f"pocketlens/{__version__}"}
        if self._secret is not None:
            headers[SIGNATURE_HEADER] = f"sha256={hmac.new(self._secret, body, hashlib.sha256).hexdigest()}"
        try:
            status, reason, pause = self._post(body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise OutputError(f"{self.name}: {_reason(error)}; check the address, and that the server runs") from error
        if status in _TRY_AGAIN:
            raise OutputError(f"{self.name}: status {status} {reason}; see the server's log", pause=pause)
        if 300 <= status < 400:
            problem = f"status {status}, which leads elsewhere and is not followed; name the address it leads to"
            raise OutputError(f"{self.name}: {problem}", attempts=_REFUSED_ATTEMPTS)
        if not 200 <= status < 300:
            problem = f"status {status} {reason}; check the address, and the secret if events are signed"
            raise OutputError(f"{self.name}: {problem}", attempts=_REFUSED_ATTEMPTS)

    def _post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, str, float]:
        """Status, reason, and the seconds that the server wants to be left alone."""
        host, port = self._address.host, self._address.port
        if self._tls is None:
            connection = http.client.HTTPConnection(host, port, timeout=_STEP_TIMEOUT_S)
        else:
            connection = http.client.HTTPSConnection(host, port, timeout=_STEP_TIMEOUT_S, context=self._tls)
        deadline = threading.Timer(_TIMEOUT_S, _hang_up, [connection])
        deadline.daemon = True
        deadline.start()
        try:
            connection.request("POST", self._target, body, dict(headers))
            answer = connection.getresponse()
            after = answer.getheader("Retry-After", "")
            pause = min(float(after), _LONGEST_PAUSE_S) if after.isdecimal() else 0.0
            return answer.status, shown(answer.reason)[:100], pause  # the answer's body is not read
        finally:
            deadline.cancel()
            connection.close()


def _hang_up(connection: http.client.HTTPConnection) -> None:
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return f"no answer within {_STEP_TIMEOUT_S:g} s"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
