"""Connections that a server must survive: slow, endless, damaged and half-closed ones; when closed they come again.

`python -m benchmarks.hostile_clients PORT COUNT` runs until its standard input is closed, and prints how often each
kind has connected.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeAlias

_HEAD = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
_CHUNK = b"\xff" * 65_536
_GIGABYTE = 10**9
_PAUSE_S = 0.5

_Attack: TypeAlias = "Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]"


async def _slow_head(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD)
    for number in itertools.count():
        writer.write(b"X-%d: y\r\n" % number)
        await writer.drain()
        await asyncio.sleep(_PAUSE_S)


async def _slow_body(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + b"Content-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"\xff")
        await writer.drain()
        await asyncio.sleep(_PAUSE_S)


async def _large_body(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + b"Content-Length: %d\r\n\r\n" % _GIGABYTE)
    for _ in range(_GIGABYTE // len(_CHUNK)):
        writer.write(_CHUNK)
        await writer.drain()


async def _endless_body(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(_GIGABYTE // len(_CHUNK)):
        writer.write(b"%x\r\n%b\r\n" % (len(_CHUNK), _CHUNK))
        await writer.drain()


async def _garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(bytes(range(256)) * 8)
    await writer.drain()
    await reader.read()


async def _half_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + b"Content-Length: 1000\r\n\r\nabc")
    writer.write_eof()
    await reader.read()


async def _silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


ATTACKS: tuple[_Attack, ...] = (
    _slow_head,
    _slow_body,
    _large_body,
    _endless_body,
    _garbage,
    _half_closed,
    _silent,
)


async def _attack_again(port: int, attack: _Attack, counts: Counter[str]) -> None:
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            counts[attack.__name__.strip("_")] += 1
            try:
                await attack(reader, writer)
            finally:
                writer.transport.abort()
        await asyncio.sleep(_PAUSE_S)


async def _run(port: int, count: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    kinds = itertools.islice(itertools.cycle(ATTACKS), count)
    tasks = [asyncio.create_task(_attack_again(port, kind, counts)) for kind in kinds]
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return counts


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_run(int(sys.argv[1]), int(sys.argv[2])))))
