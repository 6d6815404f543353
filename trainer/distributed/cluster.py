"""Which process of a distributed training this is. Light: looked at before anything heavy is imported."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass

from ..errors import TrainingError

MIRRORED, WORKERS = "mirrored", "workers"
MODES = (MIRRORED, WORKERS)
_WORD, _GO = b"pocketlens", b"go"
_GREETING_BYTES, _GREETING_SECONDS = 64, 5.0
_START_ALL = "start each with its own TF_CONFIG"


@dataclass(frozen=True)
class Cluster:
    """What $TF_CONFIG says.

    Attributes:
        addresses: host:port of each worker.
        index: which of them this process is; 0 is the chief.
    """

    addresses: tuple[str, ...]
    index: int


def read_cluster(text: str | None) -> Cluster:
    """The workers of `$TF_CONFIG`.

    Raises:
        TrainingError: it is not set, or not of that form.
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
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise TrainingError(f"--distribute {WORKERS}: TF_CONFIG is {text!r}, expected as in {example}")
    return Cluster(addresses, index)


def is_chief(mode: str | None) -> bool:
    """Whether this process writes the run folder; raises as `read_cluster`."""
    return mode != WORKERS or read_cluster(os.environ.get("TF_CONFIG")).index == 0


def rendezvous(cluster: Cluster, seconds: float) -> None:
    """Wait until all workers are there: TensorFlow would do so for ever, in native code that nothing can end.

    The chief listens at its own address, which TensorFlow takes afterwards, and lets all go at once.

    Raises:
        TrainingError: they did not all come in time, or the chief's port is taken.
    """
    end = time.monotonic() + seconds
    if cluster.index == 0:
        _receive(cluster, end, seconds)
    else:
        _report(cluster, end, seconds)


def _receive(cluster: Cluster, end: float, seconds: float) -> None:
    port = int(cluster.addresses[0].rpartition(":")[2])
    try:
        server = socket.create_server(("", port))
    except OSError as error:
        raise TrainingError(f"--distribute {WORKERS}: port {port} cannot be used: {error.strerror}") from error
    with ExitStack() as stack:
        stack.enter_context(server)
        present: dict[int, socket.socket] = {}
        while missing := [index for index in range(1, len(cluster.addresses)) if index not in present]:
            server.settimeout(max(0.01, end - time.monotonic()))
            try:
                connection, _ = server.accept()
                stack.enter_context(connection)
                connection.settimeout(_GREETING_SECONDS)
                index = _index(connection.recv(_GREETING_BYTES))
            except TimeoutError:
                index = None
            except OSError:
                continue
            if index in missing:
                present[index] = connection
            if time.monotonic() >= end:
                names = ", ".join(cluster.addresses[index] for index in missing)
                raise TrainingError(f"--distribute {WORKERS}: {names} did not come in {seconds:.0f} s; {_START_ALL}")
        for connection in present.values():
            connection.sendall(_GO)


def _index(greeting: bytes) -> int | None:
    """Which worker greets; None for a stranger."""
    word, _, number = greeting.partition(b" ")
    return int(number) if word == _WORD and number.isdigit() else None


def _report(cluster: Cluster, end: float, seconds: float) -> None:
    host, _, port = cluster.addresses[0].rpartition(":")
    while (left := end - time.monotonic()) > 0:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=min(left, _GREETING_SECONDS)) as chief:
                chief.sendall(_WORD + b" %d" % cluster.index)
                chief.settimeout(left)
                if chief.recv(_GREETING_BYTES) == _GO:
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise TrainingError(
        f"--distribute {WORKERS}: worker 0 ({cluster.addresses[0]}) did not let us begin in {seconds:.0f} s; "
        f"{_START_ALL}"
    )
