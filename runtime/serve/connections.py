"""Connections of clients that are slow, hostile or broken: each has deadlines, and there is room for honest ones.

uvicorn itself waits for ever for a head or a body that does not come, and goes on reading what nobody wants.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from socket import socket
from typing import Any

from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from .limits import ServeLimits

#: After an answer to a request that was not read to its end, so much of the rest is still taken, for so long: closing
#: at once would reset the connection, and the client might not see the answer.
_LINGER_BYTES, _LINGER_S = 2**18, 1.0
#: Seconds for requests that are under way when the server is asked to end.
_GRACE_S = 10
#: uvicorn asks ten times a second whether to go on.
_TICKS_BETWEEN_SWEEPS = 5


class Connections:
    """All connections of a server.

    Attributes:
        opened: how many there have been.
        closed: how many were closed by the server, by the reason: "full", "head", "body", "write" or "end".
    """

    def __init__(self, limits: ServeLimits) -> None:
        self.limits = limits
        self.open: set[_Connection] = set()
        self.opened = 0
        self.closed: Counter[str] = Counter()

    def sweep(self) -> None:
        """Close the connections whose deadline has passed."""
        now = time.monotonic()
        for connection in list(self.open):
            reason = connection.overdue(now)
            if reason:
                self.close(connection, reason)

    def make_room(self) -> None:
        """Where there are too many, close the one that has kept the server waiting longest."""
        while len(self.open) > self.limits.connections:
            waiting = [connection for connection in self.open if not connection.is_answered]
            if not waiting:
                return
            self.close(min(waiting, key=lambda connection: connection.since), "full")

    def close(self, connection: _Connection, reason: str) -> None:
        """Close a connection at once."""
        self.closed[reason] += 1
        self.open.discard(connection)
        connection.transport.abort()


class _Connection(H11Protocol):
    """A connection with deadlines.

    Attributes:
        since: when the connection, the head, the body or the time without a request has begun.
    """

    def __init__(self, *arguments: Any, connections: Connections, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._all = connections
        self.since = time.monotonic()
        self._has_part_of_head = True  # a new connection has the time of a head to send one
        self._blocked_since: float | None = None
        self._lingers = False
        self._discarded = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._all.opened += 1
        self._all.open.add(self)
        self._all.make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.open.discard(self)
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio allows it, uvicorn returns None
        """A client that sends no more may still wait for the answer to what it has sent."""
        if self.is_answered:
            self.cycle.keep_alive = False
        return self.is_answered

    @property
    def _has_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def is_answered(self) -> bool:
        """Whether a request is complete and its answer is not: the client waits, and not the server."""
        return self._has_request and not self.cycle.more_body

    def data_received(self, data: bytes) -> None:
        if self._lingers:
            self._discarded += len(data)
            if self._discarded > _LINGER_BYTES:
                self.transport.pause_reading()
            return
        if not self._has_request and not self._has_part_of_head:
            self._has_part_of_head = True
            self.since = time.monotonic()
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:  # a head is complete
            self._has_part_of_head = False
            self.since = time.monotonic()

    def on_response_complete(self) -> None:
        self.since = time.monotonic()
        if self.cycle.more_body and not self.transport.is_closing():
            self._linger()
            return
        super().on_response_complete()

    def _linger(self) -> None:
        """End a connection whose request was answered before it was complete."""
        self._lingers = True
        self.flow.resume_reading()
        with contextlib.suppress(OSError, RuntimeError):
            self.transport.write_eof()
        self.loop.call_later(_LINGER_S, self.transport.abort)

    def pause_writing(self) -> None:
        self._blocked_since = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._blocked_since = None
        super().resume_writing()

    def overdue(self, now: float) -> str:
        """The reason to close it now; "" for none."""
        limits = self._all.limits
        if self._blocked_since is not None and now - self._blocked_since > limits.write_s:
            return "write"
        if self.is_answered or self._lingers:
            return ""
        waited = now - self.since
        if self._has_request:  # the application gives the body up earlier, with an answer
            return "body" if waited > limits.body_s + _GRACE_S else ""
        return "head" if self._has_part_of_head and waited > limits.head_s else ""


class HttpServer(Server):
    """uvicorn's server, with deadlines for connections, and without signal handlers of its own.

    Args:
        app: the ASGI application.
        connections: keeps the deadlines.
        keep_going: asked ten times a second.
        on_start: called when it listens.
        on_end: called before connections are closed.
    """

    def __init__(
        self,
        app: Any,
        connections: Connections,
        keep_going: Callable[[], bool],
        on_start: Callable[[], object],
        on_end: Callable[[], object],
    ) -> None:
        protocol: Any = partial(_Connection, connections=connections)
        super().__init__(
            Config(
                app,
                http=protocol,
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=int(connections.limits.idle_s),
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._connections = connections
        self._keep_going = keep_going
        self._on_start = on_start
        self._on_end = on_end

    def listen(self, listener: socket) -> None:
        """Answer requests until `keep_going` is False."""
        asyncio.run(self.serve(sockets=[listener]))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS_BETWEEN_SWEEPS == 0:
            self._connections.sweep()
        return await super().on_tick(counter) or not self._keep_going()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._on_end()
        for connection in list(self._connections.open):
            if not connection.is_answered:  # its client may take as long as it likes
                self._connections.close(connection, "end")
        await super().shutdown(sockets)
