"""`pocketlens cache`."""

from __future__ import annotations

import click

from ..cache_contents import KINDS, CacheEntry, cache_entries, clear_cache, place_of_cache
from ..files import shown
from .app import Command, with_options
from .options import JSON_OPTION
from .output import print_json, print_line
from .tables import columns


@click.command(cls=Command, example="pocketlens cache\npocketlens cache --json\npocketlens cache --clear")
@click.option("--clear", is_flag=True, help="Empty it, and say how many bytes are free again.")
@with_options(JSON_OPTION)
def cache(clear: bool, as_json: bool) -> None:
    """Show where the cache lies, what is in it, and how large it is.

    It lies in $POCKETLENS_CACHE, otherwise in pocketlens/ of $XDG_CACHE_HOME or ~/.cache. Runs of data sets that come
    as arrays share one copy of each array: their files are hard links to the cache's. So a run stays whole when the
    cache is cleared, and an array's bytes are free again once the last run with it is gone too.

    Everything in it is made again when it is needed. Files of others, and links, are left alone.
    """
    folder = place_of_cache()
    entries = clear_cache(folder) if clear else cache_entries(folder)
    if as_json:
        values = {
            "folder": str(folder),
            "cleared": clear,
            "bytes": _bytes(entries),
            "freed": _unshared(entries) if clear else 0,
            "entries": [entry._asdict() for entry in entries],
        }
        print_json(values)
    elif clear:
        kept = _bytes(entries) - _unshared(entries)
        rest = f"; {kept:,} bytes stay in the run folders that use them" if kept else ""
        print_line(f"{shown(folder)}: {_count(entries)} removed, {_unshared(entries):,} bytes freed{rest}")
    else:
        print_line(f"{shown(folder)}: {_count(entries)}, {_bytes(entries):,} bytes")
        for line in _lines(entries) if entries else ():
            print_line(line)


def _lines(entries: list[CacheEntry]) -> list[str]:
    """A line for each kind."""
    rows = []
    for kind, text in KINDS.items():
        own = [entry for entry in entries if entry.kind == kind]
        used = sum(entry.links > 0 for entry in own)
        rows.append(
            (f"  {kind}", text + (f", {used} in use by runs" if used else ""), str(len(own)), f"{_bytes(own):,}")
        )
    return columns([("", "", "entries", "bytes"), *rows], left=2)


def _bytes(entries: list[CacheEntry]) -> int:
    return sum(entry.bytes for entry in entries)


def _unshared(entries: list[CacheEntry]) -> int:
    """The bytes that are in the cache alone."""
    return sum(entry.bytes for entry in entries if not entry.links)


def _count(entries: list[CacheEntry]) -> str:
    return f"{len(entries):,} {'entry' if len(entries) == 1 else 'entries'}"
