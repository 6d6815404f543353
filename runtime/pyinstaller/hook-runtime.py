"""PyInstaller's hook for `runtime`: modules that are imported by name, and files that are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata

from runtime.image_formats import PLUGIN_MODULES
from runtime.interpreter import LIBRARIES, installed


def hook(hook_api: Any) -> None:
    """Add what a build does not find by itself."""
    if Path(hook_api.__file__).resolve() != Path(__file__).resolve().parents[1] / "__init__.py":
        return  # an application's own package of this name
    libraries = installed()
    hook_api.add_imports(
        *collect_submodules("runtime", filter=lambda name: not name.startswith("runtime.pyinstaller")),
        *PLUGIN_MODULES,
        *(f"{library}.interpreter" for library in libraries),
    )
    hook_api.add_datas(collect_data_files("runtime"))
    for library in libraries:
        hook_api.add_datas(copy_metadata(LIBRARIES[library]))  # a verdict on a model is kept by the library's version
