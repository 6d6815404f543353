"""The socket that a server listens on."""

from __future__ import annotations

import socket

from ..errors import PocketlensError
from ..files import shown

#: The address that only this machine reaches.
LOOPBACK = "127.0.0.1"
_BACKLOG = 256


class ServeError(PocketlensError, OSError):
    """The server cannot listen, or its token cannot be read."""


def open_listener(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: the address.
        port: the port; 0 takes a free one.

    Raises:
        ServeError: the address is not this machine's, or the port is taken or not allowed.
    """
    where = f"{shown(host)}:{port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
        # Connections inherit it. asyncio sets it for sockets of its own alone, and an answer of two parts took 44 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ServeError(f"{where}: {reason}; choose another with `host` and `port`, where 0 is a free port") from error


def url_of(listener: socket.socket) -> str:
    """The address of a listening socket for a browser, such as `http://127.0.0.1:8000`."""
    address = listener.getsockname()
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http://{host}:{address[1]}"
