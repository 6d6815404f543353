"""The processes of a distributed training. Imports nothing heavy, so that it can be checked first."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass

from ..errors import TrainingError

MIRRORED, MULTI_WORKER = "mirrored", "workers"
#: Values of `distribute`: several GPUs of one machine, several machines.
DISTRIBUTIONS = (MIRRORED, MULTI_WORKER)
#: A worker's message to the chief, which its index follows, and the chief's reply when all workers have come.
_GREETING, _GO = b"pocketlens", b"go"
_GREETING_BYTES, _GREETING_SECONDS = 64, 5.0
#: The library's parameter, for messages.
_OPTION = f"`distribute={MULTI_WORKER}`"
_START_ALL = "start each with its own TF_CONFIG"


@dataclass(frozen=True)
class Cluster:
    """The workers of a training, from $TF_CONFIG.

    Attributes:
        addresses: host:port of each worker.
        index: index of this process in them; 0 is the chief.
    """

    addresses: tuple[str, ...]
    index: int


def read_cluster(text: str | None) -> Cluster:
    """The workers that the value of `$TF_CONFIG` names.

    Raises:
        TrainingError: it is None or malformed.
    """
    example = '{"cluster": {"worker": ["one:4000", "two:4000"]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(text or "")
        addresses, task = tuple(config["cluster"]["worker"]), config["task"]
        index, kind = task["index"], task["type"]
        sound = (
            len(addresses) >= 2
            and all(isinstance(address, str) and address.rpartition(":")[2].isdecimal() for address in addresses)
            and list(config["cluster"]) == ["worker"]
            and kind == "worker"
            and isinstance(index, int)
            and 0 <= index < len(addresses)
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise TrainingError(f"{_OPTION}: TF_CONFIG is {text!r}, expected as in {example}")
    return Cluster(addresses, index)


def is_chief(distribute: str | None) -> bool:
    """Whether this process writes the run folder; raises as `read_cluster`."""
    return distribute != MULTI_WORKER or read_cluster(os.environ.get("TF_CONFIG")).index == 0


def rendezvous(cluster: Cluster, seconds: float) -> None:
    """Wait until all workers have come: TensorFlow would wait for ever, in native code that cannot be interrupted.

    The chief listens at its own address, which TensorFlow uses afterwards, and lets all start at once.

    Args:
        seconds: the longest time to wait.

    Raises:
        TrainingError: a worker did not come in time, or the chief's port is in use.
    """
    end = time.monotonic() + seconds
    if cluster.index == 0:
        _await_workers(cluster, end, seconds)
    else:
        _report_to_chief(cluster, end, seconds)


def _await_workers(cluster: Cluster, end: float, seconds: float) -> None:
    port = int(cluster.addresses[0].rpartition(":")[2])
    try:
        server = socket.create_server(("", port))
    except OSError as error:
        raise TrainingError(f"{_OPTION}: port {port} cannot be used: {error.strerror}") from error
    with ExitStack() as stack:
        stack.enter_context(server)
        present: dict[int, socket.socket] = {}
        while missing := [index for index in range(1, len(cluster.addresses)) if index not in present]:
            server.settimeout(max(0.01, end - time.monotonic()))
            try:
                connection, _ = server.accept()
                stack.enter_context(connection)
                connection.settimeout(_GREETING_SECONDS)
                index = _worker_index(connection.recv(_GREETING_BYTES))
            except TimeoutError:
                index = None
            except OSError:
                continue
            if index in missing:
                present[index] = connection
            if time.monotonic() >= end:
                names = ", ".join(cluster.addresses[index] for index in missing)
                raise TrainingError(f"{_OPTION}: {names} did not come in {seconds:.0f} s; {_START_ALL}")
        for connection in present.values():
            connection.sendall(_GO)


def _worker_index(greeting: bytes) -> int | None:
    """The index of the worker that sent this; None for any other program."""
    word, _, number = greeting.partition(b" ")
    return int(number) if word == _GREETING and number.isdigit() else None


def _report_to_chief(cluster: Cluster, end: float, seconds: float) -> None:
    host, _, port = cluster.addresses[0].rpartition(":")
    while (remaining := end - time.monotonic()) > 0:
        try:
            timeout = min(remaining, _GREETING_SECONDS)
            with socket.create_connection((host.strip("[]"), int(port)), timeout=timeout) as chief:
                chief.sendall(_GREETING + b" %d" % cluster.index)
                chief.settimeout(remaining)
                if chief.recv(_GREETING_BYTES) == _GO:
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise TrainingError(
        f"{_OPTION}: worker 0 ({cluster.addresses[0]}) did not let us begin in {seconds:.0f} s; {_START_ALL}"
    )
