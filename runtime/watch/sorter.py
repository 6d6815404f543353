"""Moving an answered image into its label's folder."""

from __future__ import annotations

import errno
import filecmp
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count

from ..errors import ActionError
from ..files import shown, sync_folder
from ..postprocessing import UNKNOWN
from .hook import check_placeholders
from .journal_file import Identity

PLACEHOLDER = "{label}"
#: The longest name made from a label; file systems allow 255 bytes, and the template may add text.
_MAX_NAME_BYTES = 120
_MAX_FILE_NAME_BYTES = 255
_CLAIM = re.compile(r"\.pocketlens-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+\.moving-(.+)", re.DOTALL)
_UNSAFE = frozenset('/\\:*?"<>|')


def folder_names(labels: Sequence[str]) -> dict[str, str]:
    """A folder's name for each label, and for "unknown": plain names, all different.

    Characters that would lead elsewhere, hide the folder, or that some file system refuses are replaced by `_` or
    dropped. If two labels would then share a folder, ignoring case, the later one gets a number.

    Example:
        >>> folder_names(["T-shirt/top", "..", "../x", "cat", "Cat"])
        {'T-shirt/top': 'T-shirt_top', '..': '_', '../x': '_x', 'cat': 'cat', 'Cat': 'Cat-2', 'unknown': 'unknown'}
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for label in dict.fromkeys((*labels, UNKNOWN)):
        plain = plain_name(label)
        name = next(n for n in _numbered(plain, "", first=2) if n.casefold() not in taken)
        taken.add(name.casefold())
        names[label] = name
    return names


def plain_name(label: str) -> str:
    """A label as the name of a file or a folder that every file system takes."""
    text = "".join("_" if c in _UNSAFE or not c.isprintable() else c for c in label).strip(" .")
    name = text.encode(errors="replace")[:_MAX_NAME_BYTES].decode(errors="ignore").strip(" .") or "_"
    return os.fsdecode(name.encode())  # UTF-8 on the disk, in any locale


def _numbered(stem: str, suffix: str, first: int = 1) -> Iterator[str]:
    yield f"{stem}{suffix}"
    yield from (f"{stem}-{number}{suffix}" for number in count(first))


class Sorter:
    """Moves answered images into a folder for each label; it replaces no file and stays within the user's folder.

    A file is first claimed: renamed to a hidden name beside it, which no writer knows. So the file that is moved is the
    one that was answered, even if a camera puts its next picture under the same name meanwhile. After a kill at any
    moment, `move` does the rest.

    Args:
        template: a folder, with `{label}` in it.
        labels: the model's labels.

    Attributes:
        root: the part of the template before `{label}`, which no label can change.

    Raises:
        ValueError: the template has no `{label}`, or another placeholder.
    """

    def __init__(self, template: str, labels: Sequence[str]) -> None:
        check_placeholders(template, ("label",))
        if PLACEHOLDER not in template:
            raise ValueError(
                f"{template!r} has no {PLACEHOLDER}; name a folder for each label, such as sorted/{PLACEHOLDER}"
            )
        self._template = template
        self.root = os.path.realpath(os.path.dirname(template.partition(PLACEHOLDER)[0]) or ".")
        self._names = folder_names(labels)

    def folder(self, label: str) -> str:
        """The folder for images with this label."""
        return self._template.replace(PLACEHOLDER, self._names.get(label) or plain_name(label))

    def move(self, path: str, identity: Identity, label: str) -> str | None:
        """Move an image, or finish a move that a kill interrupted; its new path, or None if the image is gone.

        Raises:
            ActionError: the image cannot be moved, and stays where it was.
        """
        try:
            return self._move(path, identity, label)
        except (OSError, ActionError, ValueError) as error:  # ValueError: a name that the locale cannot encode
            with suppress(OSError):
                unclaim(path, identity)
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ActionError(f"{shown(path)}: cannot be moved to {shown(self.folder(label))}: {reason}") from error

    def _move(self, path: str, identity: Identity, label: str) -> str | None:
        folder, (parent, name) = self.folder(label), os.path.split(path)
        os.makedirs(folder, exist_ok=True)
        if os.path.commonpath([os.path.realpath(folder), self.root]) != self.root:
            raise ActionError(f"a link leads out of {shown(self.root)}; remove it")
        if os.path.samefile(folder, parent or "."):
            unclaim(path, identity)
            return path
        claim = _claimed(path, identity)
        resumed = os.path.lexists(claim)
        if not resumed:
            if not _is_file(path, identity):
                return self._find(folder, name, identity)
            os.rename(path, claim)
        if not _is_file(claim, identity):
            _return_claimed(claim, path)  # another picture took its place before the rename; it has yet to be answered
            return None
        return _place(claim, folder, name, resumed)

    @staticmethod
    def _find(folder: str, name: str, identity: Identity) -> str | None:
        """The path to which an earlier move put the image."""
        stem, suffix = os.path.splitext(name)
        for candidate in _numbered(os.path.join(folder, stem), suffix):
            if not os.path.lexists(candidate):
                return None
            if _is_file(candidate, identity, anywhere=True):
                return candidate
        return None


def unclaim(path: str, identity: Identity) -> None:
    """Return an image to its own name, if an unfinished move has claimed it."""
    claim = _claimed(path, identity)
    if os.path.lexists(claim):
        _return_claimed(claim, path)


def return_orphans(folders: Iterable[str]) -> list[tuple[str, str]]:
    """Return claimed images that no journal knows to their own names, or free ones like these.

    Returns:
        the name of each claim, and the path at which the image lies now.
    """
    returned = []
    for folder in folders:
        with suppress(OSError):  # a folder that was just removed
            for claim in sorted(os.listdir(folder)):
                name = _CLAIM.match(claim)
                path = os.path.join(folder, claim)
                if name and stat.S_ISREG(os.lstat(path).st_mode):
                    returned.append((claim, _place_on_same_disk(path, folder, name[1])))
    return returned


def _claimed(path: str, identity: Identity) -> str:
    """The hidden name of an image that is being moved; its own name follows, for whoever finds it."""
    folder, name = os.path.split(path)
    prefix = f".pocketlens-{'-'.join(f'{n:x}' for n in identity)}.moving-"
    kept = os.fsencode(name)[-(_MAX_FILE_NAME_BYTES - len(prefix)) :]
    return os.path.join(folder, f"{prefix}{os.fsdecode(kept)}")


def _is_file(path: str, identity: Identity, *, anywhere: bool = False) -> bool:
    """Whether this very file lies at a path; with `anywhere`, a copy from another disk counts too."""
    try:
        state = os.lstat(path)
    except FileNotFoundError:
        return False
    same = stat.S_ISREG(state.st_mode) and (state.st_size, state.st_mtime_ns) == identity[:2]
    return same and (anywhere or identity.inode in (0, state.st_ino))


def _return_claimed(claim: str, path: str) -> None:
    """Undo a claim; if a newer picture has the name by now, remove the claimed one, which it would have replaced."""
    try:
        os.link(claim, path, follow_symlinks=False)
        os.unlink(claim)
    except FileExistsError:
        os.unlink(claim)
    except OSError:  # no hard links on this file system
        if os.path.lexists(path):
            os.unlink(claim)
        else:
            os.rename(claim, path)


def _place(claim: str, folder: str, name: str, resumed: bool) -> str:
    """Put a claimed file into a folder, which may be on another disk."""
    copy = os.path.join(folder, os.path.basename(claim))
    with suppress(FileNotFoundError):
        os.unlink(copy)  # an earlier copy that was not finished
    done = _placed_before(claim, folder, name) if resumed else None
    if done is not None:
        os.unlink(claim)
        return done
    if _same_disk(claim, folder):
        try:
            return _place_on_same_disk(claim, folder, name)
        except OSError as error:
            if error.errno != errno.EXDEV:  # two mounts of one file system
                raise
    try:
        _copy(claim, copy)
        place = _place_on_same_disk(copy, folder, name)
    except OSError:
        with suppress(OSError):
            os.unlink(copy)
        raise
    sync_folder(folder)
    os.unlink(claim)
    return place


def _copy(source: str, copy: str) -> None:
    shutil.copyfile(source, copy, follow_symlinks=False)
    with suppress(OSError):  # some file systems keep no permissions
        shutil.copystat(source, copy, follow_symlinks=False)
    handle = os.open(copy, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _same_disk(path: str, other: str) -> bool:
    return os.stat(path).st_dev == os.stat(other).st_dev


def _placed_before(claim: str, folder: str, name: str) -> str | None:
    """The path at which a claimed file, or a complete copy of it, lies in the folder already."""
    state = os.lstat(claim)
    stem, suffix = os.path.splitext(name)
    for candidate in _numbered(os.path.join(folder, stem), suffix):
        if not os.path.lexists(candidate):
            return None
        if _is_file(candidate, Identity(state.st_size, state.st_mtime_ns, 0)) and (
            os.path.samefile(candidate, claim) or filecmp.cmp(candidate, claim, shallow=False)
        ):
            return candidate
    return None


def _place_on_same_disk(source: str, folder: str, name: str) -> str:
    """Rename to the first free name in a folder of the same disk."""
    stem, suffix = os.path.splitext(name)
    for candidate in _numbered(os.path.join(folder, stem), suffix):
        try:
            os.link(source, candidate, follow_symlinks=False)
        except FileExistsError:
            continue
        except OSError:  # no hard links on this file system, or not for files of others
            if os.path.lexists(candidate):
                continue
            os.rename(source, candidate)
            return candidate
        os.unlink(source)
        return candidate
    raise AssertionError("there is always a free number")
