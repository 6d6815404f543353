"""What requests may cost in memory and time, and how their bodies are read within these limits."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from starlette.requests import Request

from ..errors import PocketlensError

#: Seconds until a client may try again after a 503.
RETRY_AFTER_S = 1

#: What is beyond so many bytes of a body is read at a rate that all large bodies share: endless ones would otherwise
#: keep the server busy, and small pictures waiting.
_UNPACED_BYTES, _PACED_BYTES_PER_S = 2**20, 32 * 2**20


class ServeLimits(NamedTuple):
    """The limits of a server.

    Attributes:
        body_bytes: the largest body of a request.
        all_bodies_bytes: all bodies together that are being received or answered.
        requests: pictures that are being answered, or wait for it.
        connections: open connections; beyond them, the one that has kept the server waiting longest is closed.
        viewers: connections that get live events.
        head_s: seconds for the head of a request, from its first byte or the start of the connection.
        body_s: seconds for the body of a request.
        idle_s: seconds for which a connection stays open between two requests.
        write_s: seconds for which a client may take nothing of an answer.
    """

    body_bytes: int = 20 * 10**6
    all_bodies_bytes: int = 80 * 10**6
    requests: int = 32
    connections: int = 256
    viewers: int = 16
    head_s: float = 10.0
    body_s: float = 30.0
    idle_s: float = 30.0
    write_s: float = 15.0


class RefusedRequestError(PocketlensError):
    """A request is refused.

    Attributes:
        status: the status of the HTTP answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class BodyReader:
    """Reads bodies of requests; all that are held share one budget of memory.

    When the budget is spent, the body that has been under way longest is given up: an honest client's picture
    arrives within a moment, and one that is held back on purpose does not.
    """

    def __init__(self, limits: ServeLimits) -> None:
        self._limits = limits
        #: In the order in which they began.
        self._under_way: dict[object, _Body] = {}
        self._held = 0
        self._next_turn = 0.0

    async def read(self, request: Request) -> _Body:
        """The body of a request; leave its `with` once it is not needed any more.

        Raises:
            RefusedRequestError: it is too large (413), too slow (408), or was given up for others (503).
            ClientDisconnect: the client has gone.
        """
        limit = self._limits.body_bytes
        length = request.headers.get("content-length", "")
        if length.isdecimal() and (len(length) > 18 or int(length) > limit):
            raise _too_large(length[:18], limit)
        body = _Body(self)
        self._under_way[body] = body
        try:
            await asyncio.wait_for(self._receive(request, body), self._limits.body_s)
        except (TimeoutError, asyncio.TimeoutError) as error:
            body.release()
            raise RefusedRequestError(
                408, f"the body took more than {self._limits.body_s:g} s; send a smaller picture"
            ) from error
        except BaseException:
            body.release()
            raise
        self._under_way.pop(body, None)
        if body.given_up:
            raise _short_of_memory()
        return body

    async def _receive(self, request: Request, body: _Body) -> None:
        async for chunk in request.stream():
            if body.given_up:
                raise _short_of_memory()
            body.parts.append(chunk)
            body.size += len(chunk)
            self._held += len(chunk)
            if body.size > self._limits.body_bytes:
                raise _too_large(f"more than {self._limits.body_bytes:,}", self._limits.body_bytes)
            if body.size > _UNPACED_BYTES:
                await self._turn(len(chunk))
            while self._held > self._limits.all_bodies_bytes and self._under_way:
                oldest = next(iter(self._under_way))
                self._under_way[oldest].give_up()

    async def _turn(self, size: int) -> None:
        """Wait until a part of a large body may be followed by the next."""
        now = time.monotonic()
        turn = max(now, self._next_turn)
        self._next_turn = turn + size / _PACED_BYTES_PER_S
        if turn > now:
            await asyncio.sleep(turn - now)

    def drop(self, body: _Body, size: int) -> None:
        """Forget a body and the memory that it held."""
        self._under_way.pop(body, None)
        self._held -= size


class _Body:
    """The body of a request, as it arrives."""

    def __init__(self, reader: BodyReader) -> None:
        self._reader = reader
        self.parts: list[bytes] = []
        self.size = 0
        self.given_up = False

    def __enter__(self) -> bytes:
        content = b"".join(self.parts)
        self.parts = []
        return content

    def __exit__(self, *_error: object) -> None:
        self.release()

    def give_up(self) -> None:
        self.given_up = True
        self.release()

    def release(self) -> None:
        size, self.size, self.parts = self.size, 0, []
        self._reader.drop(self, size)


def _short_of_memory() -> RefusedRequestError:
    return RefusedRequestError(503, "the server is short of memory for slow bodies; try again later")


def _too_large(found: str, limit: int) -> RefusedRequestError:
    return RefusedRequestError(
        413, f"the body has {found} bytes, and at most {limit:,} are taken; send a smaller picture"
    )
