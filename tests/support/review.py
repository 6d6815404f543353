"""Pictures as devices keep them, and an `ssh` that stays on this machine."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support.serving import Reply, Served, listening
from trainer.review.app import Review
from trainer.review.class_folders import ClassFolders

#: Runs what it is asked to run there here.
_SSH = """#!{python}
import os, sys
words = sys.argv[1:]
while words[0].startswith("-"):
    words = words[2:] if words[0] in ("-o", "-l", "-p") else words[1:]
with open(os.environ["SSH_LOG"], "a") as log: log.write(repr(sys.argv[1:]) + "\\n")
if words[0].endswith("nowhere"):
    sys.stderr.write("ssh: Could not resolve hostname nowhere: Name or service not known\\n"); sys.exit(255)
if words[0] == "norsync":
    sys.stderr.write("sh: 1: rsync: not found\\n"); sys.exit(127)
os.execvp(words[1], words[1:])
"""


def picture_of(seed: int, side: int = 32, kind: str = "JPEG", colour: tuple[int, int, int] | None = None) -> bytes:
    """A picture of large blocks, which differs clearly from that of another seed."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    if colour is not None:
        blocks[1:3, 1:3] = colour
    image = Image.fromarray(blocks).resize((side, side), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def keep(folder: Path, number: int, content: bytes | None = None, **values: Any) -> Path:
    """Put a picture and its note into a folder as `live --uncertain` does; returns the picture's path."""
    folder.mkdir(parents=True, exist_ok=True)
    note = {
        "time": 1_764_172_800.0 + number,
        "kind": "uncertain",
        "scores": {"cat": 0.6, "dog": 0.4},
        "model": "ab" * 32,
        "device": "door",
        **values,
    }
    stem = f"2026{number:04d}-{note['kind']}"
    path = folder / f"{stem}.jpg"
    path.write_bytes(picture_of(number) if content is None else content)
    (folder / f"{stem}.json").write_text(json.dumps(note))
    return path


def own_ssh(folder: Path) -> dict[str, str]:
    """Variables with which `ssh` runs its command on this machine."""
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "ssh"
    program.write_text(_SSH.format(python=sys.executable))
    program.chmod(0o755)
    return {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "SSH_LOG": str(folder / "ssh.log")}


def make_dataset(
    root: Path, classes: tuple[str, ...] = ("cat", "dog"), splits: tuple[str, ...] = ("train", "test")
) -> Path:
    """A data set of a few pictures a class, in folders for its splits if there are any."""
    seed = 10_000
    for split in splits or ("",):
        for label in classes:
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(3):
                seed += 1
                (folder / f"{number}.jpg").write_bytes(picture_of(seed))
    return root


TOKEN = "correct-horse-battery"


@contextmanager
def reviewing(folder: Path, dataset: Path, port: int = 0, random_to: str = "train") -> Iterator[Served]:
    """A review in a thread of this process, whose pictures have been looked at; its token is `TOKEN`."""
    opened = Review(folder, ClassFolders(dataset, random_to), TOKEN)
    with listening(opened, opened.start, port=port) as served:
        yield served


def until_ready(served: Served) -> dict[str, Any]:
    """What a review says of itself once it has looked at all pictures."""
    for _ in range(400):
        found: dict[str, Any] = call(served, "/v1/review").value
        if found["stage"] == "ready":
            return found
        time.sleep(0.05)
    raise AssertionError("the pictures are not looked at")


def call(served: Served, path: str, value: object = None, **headers: str) -> Reply:
    """An answer to the page's own requests: a POST where there is a value."""
    body = None if value is None else json.dumps(value).encode()
    return served.ask(path, body, **{"Authorization": f"Bearer {TOKEN}", **headers})
