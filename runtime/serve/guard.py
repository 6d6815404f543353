"""Who may ask: the token, the names under which the server is called, and pages of other sites."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Collection
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from ..files import shown

_Scope: TypeAlias = "dict[str, Any]"

#: What can be had without the token: it says nothing about the model.
PUBLIC_PATHS = frozenset(("/", "/healthz", "/openapi.json"))
#: Of each answer; the page has its own policy.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_POLICY = "Content-Security-Policy"
_NO_CONTENT = "default-src 'none'; frame-ancestors 'none'"
_LONGEST_SHOWN = 80


class Guard:
    """An ASGI application around another that refuses requests which must not be answered.

    - A `Host` that is no address and none of our names: a site whose name is made to lead here (DNS rebinding) would
      otherwise let its pages read the answers.
    - An `Origin` of another site, and what a browser calls cross-site: pages of others may not use the server.
    - A missing or wrong token. Tokens are compared in constant time.

    Args:
        app: the application.
        token: what clients send as `Authorization: Bearer TOKEN`; None demands nothing.
        names: further names of this machine.
        public: the paths that can be had without the token.
    """

    def __init__(
        self,
        app: Any,
        token: str | None,
        names: Collection[str] = (),
        public: Collection[str] = PUBLIC_PATHS,
    ) -> None:
        self._app = app
        self._public = frozenset(public)
        self._token = None if token is None else token.encode()
        own = socket.gethostname().lower()
        self._names = {"localhost", own, f"{own}.local", *(name.lower().rstrip(".") for name in names)}

    async def __call__(self, scope: _Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        refused = self._refused(scope)

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault(_POLICY, _NO_CONTENT)
            await send(message)

        await (refused or self._app)(scope, receive, send_with_headers)

    def _refused(self, scope: _Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host):
            return _refusal(
                421, f"host {_short(host)}: no name of this server; use its address, or name it at the start"
            )
        origin = headers.get("origin")
        if origin is not None and _host_of(origin) != host.lower():
            return _refusal(403, f"origin {_short(origin)}: pages of other sites may not use this server")
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not _is_visit(headers, scope):
            return _refusal(403, "a page of another site may not use this server")
        if self._token is None or scope["path"] in self._public:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        known = hmac.compare_digest(given.strip().encode("latin-1", "replace"), self._token)
        if scheme.lower() == "bearer" and known:
            return None
        found = "wrong" if given else "missing"
        problem = f"the token is {found}; send the header `Authorization: Bearer TOKEN`"
        return _refusal(401, problem, {"WWW-Authenticate": "Bearer"})

    def _is_ours(self, host: str) -> bool:
        name = host.lower()
        name = name[1:].partition("]")[0] if name[:1] == "[" else name.partition(":")[0].rstrip(".")
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)  # nobody can make another site's name an address
        except ValueError:
            return False
        return True


def _host_of(origin: str) -> str:
    """The host and port of an origin, as a `Host` header has them; "" where there is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_visit(headers: Headers, scope: _Scope) -> bool:
    """Whether a person follows a link to the page."""
    return scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"


def _short(text: str) -> str:
    return repr(shown(text[:_LONGEST_SHOWN]))


def _refusal(status: int, problem: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": problem}, status, headers)
