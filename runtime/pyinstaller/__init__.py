"""Hooks that tell PyInstaller which modules and files a frozen application with Pocketlens needs.

PyInstaller finds this package by the entry point `pyinstaller40`. It imports nothing.
"""

from __future__ import annotations


def hook_folders() -> list[str]:
    """The folders with hooks, for PyInstaller."""
    return [*__path__]
