"""The exporter: from a trained run to checked TensorFlow Lite files with a report.

It imports the runtime and the shared rooms of the trainer (data, evaluation, plots, keras_inspection). The names below
are imported when they are first used, since `export` brings TensorFlow.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .export import ExportResult, export
    from .gates import Limits
    from .recipe import ExportConfig, Recipe

_ROOMS = {"ExportConfig": "recipe", "ExportResult": "export", "Limits": "gates", "Recipe": "recipe"}
__all__ = ["ExportConfig", "ExportResult", "Limits", "Recipe", "export"]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_ROOMS[name]}", __name__), name)


class _Package(ModuleType):
    """Keeps `exporter.export` the function, although there is a module of that name."""

    @property
    def export(self) -> Any:
        return importlib.import_module(".export", __name__).export

    @export.setter
    def export(self, _module: ModuleType) -> None:
        """Python would put the module there when it is imported."""


sys.modules[__name__].__class__ = _Package
