"""Slow, hostile and broken clients: each is ended in time, and honest ones are answered meanwhile."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

import pytest

from runtime.serve.limits import ServeLimits
from tests.support.serving import encoded, rest_of, served

pytestmark = pytest.mark.fast

LIMITS = ServeLimits(body_bytes=100_000, head_s=0.5, body_s=0.7, idle_s=1, connections=8)
HEAD = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"


def post(body: bytes, length: int | None = None) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % (len(body) if length is None else length) + body


@pytest.mark.parametrize(
    "start",
    [b"", b"P", HEAD, HEAD + b"X-Slow: "],
    ids=["nothing", "a letter", "a head without end", "half a header"],
)
def test_a_head_that_does_not_come_is_given_up(start: bytes) -> None:
    with served(limits=LIMITS) as server:
        connection = server.connect(start)
        began = time.monotonic()
        assert rest_of(connection) == b""
        assert 0.3 < time.monotonic() - began < 10
        assert server.connections.closed["head"] == 1


def test_letters_that_come_one_by_one_do_not_prolong_the_deadline() -> None:
    with served(limits=LIMITS) as server:
        connection = server.connect(HEAD)
        began = time.monotonic()
        with suppress(ConnectionError):
            for _ in range(200):
                connection.sendall(b"X: y\r\n")
                time.sleep(0.05)
        assert time.monotonic() - began < 8


def test_a_body_that_does_not_come_is_answered_with_408() -> None:
    with served(limits=LIMITS) as server:
        answer = rest_of(server.connect(post(b"abc", 1000)))
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"took more than 0.7 s" in answer


def test_a_large_body_is_refused_before_it_is_sent() -> None:
    with served(limits=LIMITS) as server:
        began = time.monotonic()
        answer = rest_of(server.connect(post(b"abc", 10**9)))
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"at most 100,000 are taken" in answer
        assert time.monotonic() - began < 8
        waits = rest_of(server.connect(HEAD + b"Expect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n"))
        assert waits.startswith(b"HTTP/1.1 413 ")


def test_a_body_without_a_length_is_cut_at_the_limit() -> None:
    with served(limits=LIMITS) as server:
        connection = server.connect(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"
        sent = 0
        try:
            while sent < 1000 * len(chunk):
                connection.sendall(chunk)
                sent += len(chunk)
        except (ConnectionError, TimeoutError):
            pass
        assert sent < 1000 * len(chunk)
        assert server.ask("/healthz").status == 200


@pytest.mark.parametrize(
    "garbage", [b"\0" * 100, b"GET\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0", b"GET / HTTP/9.9\r\n\r\n", b"x" * 100_000]
)
def test_garbage_is_refused(garbage: bytes) -> None:
    with served(limits=LIMITS) as server:
        answer = rest_of(server.connect(garbage))
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        assert server.ask("/healthz").status == 200


def test_a_client_that_sends_no_more_still_gets_its_answer() -> None:
    with served(limits=LIMITS) as server:
        connection = server.connect(post(encoded()))
        connection.shutdown(socket.SHUT_WR)
        assert rest_of(connection).startswith(b"HTTP/1.1 200 ")
        gone = server.connect(post(b"abc", 1000))
        gone.shutdown(socket.SHUT_WR)
        assert rest_of(gone) == b""


def test_a_connection_serves_several_requests_and_is_closed_when_idle() -> None:
    with served(limits=LIMITS) as server:
        connection = server.connect(post(encoded()), post(encoded(1)))
        answers = rest_of(connection)
        assert answers.count(b"HTTP/1.1 200 ") == 2


def test_where_there_are_too_many_the_one_that_waits_longest_goes() -> None:
    limits = LIMITS._replace(head_s=60, body_s=60)
    with served(limits=limits) as server:
        hostile = [server.connect(HEAD) for _ in range(30)]
        for seed in range(20):
            assert server.ask("/v1/classify", encoded(seed)).status == 200
        assert server.connections.closed["full"] >= 22
        assert len(server.connections.open) <= limits.connections
        for connection in hostile:
            connection.close()


def test_memory_for_bodies_goes_to_those_that_arrive() -> None:
    limits = LIMITS._replace(all_bodies_bytes=150_000, body_s=30, connections=50)
    with served(limits=limits) as server:
        hostile = [server.connect(post(b"x" * 40_000, 90_000)) for _ in range(10)]
        for seed in range(5):
            assert server.ask("/v1/classify", encoded(seed)).status == 200
        hostile[0].sendall(b"x" * 40_000)
        assert rest_of(hostile[0]).startswith(b"HTTP/1.1 503 ")
        for connection in hostile:
            connection.close()


def test_large_bodies_share_a_rate_and_small_ones_do_not_wait_for_them() -> None:
    limits = ServeLimits(body_bytes=20_000_000, body_s=60)
    with served(limits=limits) as server:
        began = time.monotonic()
        large = [server.connect(post(b"x" * 3_000_000, 20_000_000)) for _ in range(3)]
        assert server.ask("/v1/classify", encoded()).status == 200
        assert server.ask("/v1/classify", encoded(side=1300)).status == 200
        assert time.monotonic() - began > (5_000_000 - 2 * 2**20) / (32 * 2**20)
        for connection in large:
            connection.close()


def test_it_ends_in_time_whatever_clients_do() -> None:
    with served(limits=LIMITS) as server:
        clients = [server.connect(start) for start in (b"", HEAD, post(b"abc", 1000))]
        began = time.monotonic()
    assert time.monotonic() - began < 8
    for connection in clients:
        connection.close()
