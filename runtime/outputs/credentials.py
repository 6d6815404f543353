"""Addresses and secrets of outputs: no password in an address, no secret in a file that others can read."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from ..errors import PocketlensError
from ..files import open_regular_file, read_stream, shown

_MAX_BYTES = 2**16


class OutputSettingError(PocketlensError, ValueError):
    """An output's address, or its file of secrets, is not what it must be."""


class OutputAddress(NamedTuple):
    """The parts of a URL, as they are written; `path` begins with `/` or is empty."""

    scheme: str
    host: str
    port: int
    path: str
    query: str


def read_address(url: str, parameter: str, ports: Mapping[str, int], example: str, cure: str) -> OutputAddress:
    """The parts of a URL.

    Args:
        url: as the user wrote it.
        parameter: the parameter that it was given for.
        ports: the schemes that are allowed, and their ports.
        example: a URL as it should be.
        cure: where a user name and a password belong instead.

    Raises:
        OutputSettingError: it has another scheme, no host, a wrong port, or a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise OutputSettingError(f"`{parameter}` is no address: {error}; write it like {example}") from error
    if "@" in parts.netloc:  # the password is not quoted
        raise OutputSettingError(
            f"`{parameter}` holds a user name or a password, which every process of the machine could read; {cure}"
        )
    if parts.scheme not in ports or not parts.hostname or re.search(r"[\s\x00-\x1f]", url):
        raise OutputSettingError(f"`{parameter}` is {url[:200]!r}, expected an address like {example}")
    return OutputAddress(parts.scheme, parts.hostname, port or ports[parts.scheme], parts.path, parts.query)


def read_secret_file(path: str | os.PathLike[str]) -> str:
    """The text of a file that only its owner can read.

    Raises:
        OutputSettingError: it is missing, no text, or others can read it.
    """
    with open_regular_file(Path(path), OutputSettingError) as file:
        state = os.fstat(file.fileno())
        if state.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise OutputSettingError(
                f"{shown(path)}: others can read this secret (mode {stat.S_IMODE(state.st_mode):o}); "
                f"chmod 600 {shown(path)}"
            )
        data = read_stream(file, _MAX_BYTES, OutputSettingError, shown(path))
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise OutputSettingError(f"{shown(path)}: no text in UTF-8") from error
