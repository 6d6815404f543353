"""Which devices get a release that is not for all yet: each device decides for itself, by a hash.

Nobody keeps a list of devices. A device is at a fixed place between 0 and 1 for each release, and belongs to the first
10 % if that place is below 0.1. So a device of the first 10 % is among the first 50 % too, and another release
chooses other devices.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path

from ..errors import UpdateError, UsageError
from ..files import read_regular_file, shown, write_whole

#: A share of devices is a whole number of these: signed metadata holds no fractions.
FULL_ROLLOUT = 10_000
_ID = re.compile(r"[\x21-\x7e]{1,128}")
_MAX_ID_BYTES = 1024


def in_rollout(device_id: str, release_id: str, rollout: int) -> bool:
    """Whether a device belongs to the share of devices that a release is for.

    Args:
        device_id: the device's name for itself.
        release_id: what tells the release from others.
        rollout: the share, 0 to `FULL_ROLLOUT`.

    Example:
        >>> [in_rollout("pi-5", "door/3", share) for share in (0, 1_000, 5_000, 10_000)]
        [False, False, True, True]
    """
    digest = hashlib.sha256(f"{device_id}\0{release_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") * FULL_ROLLOUT < rollout << 64


def parse_rollout(text: str) -> int:
    """The share of a text such as `10%`, `0.5 %` or `100%`, in units of `FULL_ROLLOUT`.

    Raises:
        ValueError: it is none, or not above 0 % and at most 100 %.

    Example:
        >>> parse_rollout("12.5%")
        1250
    """
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,2})?) ?%", text.strip())
    share = round(float(found[1]) * FULL_ROLLOUT / 100) if found else 0
    if not 0 < share <= FULL_ROLLOUT:
        raise ValueError(f"{text!r} is no share of devices; expected above 0 % and at most 100 %, such as 10%")
    return share


def rollout_text(rollout: int) -> str:
    """A share as people write it.

    Example:
        >>> rollout_text(1250)
        '12.5 %'
    """
    return f"{rollout * 100 / FULL_ROLLOUT:g} %"


def check_device_id(device_id: str) -> str:
    """The name itself; raises UsageError if it is none."""
    if not _ID.fullmatch(device_id):
        raise UsageError(
            f"`device_id` is {shown(device_id)!r}, expected 1 to 128 printable ASCII characters, no blanks"
        )
    return device_id


def own_device_id(path: Path) -> str:
    """The random name that a device has given itself; it is made and kept in a file at the first call.

    Raises:
        UpdateError: the file holds something else.
        OSError: it cannot be written.
    """
    if not path.exists():
        write_whole(path, f"{secrets.token_hex(16)}\n".encode())
    content, name = read_regular_file(path, _MAX_ID_BYTES, UpdateError)
    found = content.decode("ascii", "replace").strip()
    if not _ID.fullmatch(found):
        raise UpdateError(f"{name}: not a device's name; remove the file, and a new name is made")
    return found
