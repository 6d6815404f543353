"""Which process of a distributed training this is. Light: looked at before anything heavy is imported."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from .errors import TrainingError

MIRRORED, WORKERS = "mirrored", "workers"
MODES = (MIRRORED, WORKERS)


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
