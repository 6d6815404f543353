"""`.keras` archives: checked before Keras may load them, so that no code of a file is run."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.errors import PocketlensError
from runtime.files import shown

from ..errors import RunError

#: The bytes of all members together.
MAX_UNPACKED_BYTES = 4 * 2**30
_MAX_CONFIG_BYTES = 64 * 2**20
#: Parts of Keras whose functions read files, download, or load other models; no layer is among them.
_NOT_LAYERS = ("keras.utils", "keras.src.utils", "keras.saving", "keras.src.saving", "keras.config", "keras.callbacks")


def read_config(
    path: Path, error: type[PocketlensError], *, cure: str, max_unpacked_bytes: int = MAX_UNPACKED_BYTES
) -> Any:
    """The archive's description of its network: parsed JSON.

    Args:
        error: the kind of error to raise.
        cure: for a damaged archive, for the message.
        max_unpacked_bytes: how much all its members may take together.

    Raises:
        error: it is no archive, is damaged, or would take too much memory when unpacked.
    """
    name = shown(path)
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            config = archive.getinfo("config.json")
            if unpacked > max_unpacked_bytes or config.file_size > _MAX_CONFIG_BYTES:
                raise error(
                    f"{name}: cannot be loaded: {unpacked:,} bytes unpacked, {config.file_size:,} of them its "
                    f"configuration; at most {max_unpacked_bytes:,} and {_MAX_CONFIG_BYTES:,} are read"
                )
            return json.loads(archive.read(config))
    except PocketlensError:
        raise
    except Exception as problem:  # zipfile raises many kinds on hostile archives
        raise error(f"{name}: cannot be loaded: no .keras archive ({problem}); {cure}") from problem


def check_keras_archive(
    path: Path, error: type[PocketlensError], *, cure: str, instead: str = "use a layer of Keras"
) -> None:
    """Refuse an archive that carries code or names it, and say which layer does.

    Keras's `safe_mode` alone is not enough: it refuses lambdas only, and imports any installed module that the file
    names.

    Args:
        error, cure: as for `read_config`.
        instead: the cure where a layer is not part of Keras.

    Raises:
        error: as `read_config`, or a layer is not part of Keras.
    """
    name = shown(path)
    for described in _objects(read_config(path, error, cure=cure)):
        config, kind, module = (described.get(key) for key in ("config", "class_name", "module"))
        layer = config.get("name") if isinstance(config, dict) else None
        subject = f"layer {shown(layer)!r}" if isinstance(layer, str) else "an object"
        if kind == "Lambda":
            raise error(f"{name}: cannot be loaded: {subject} is a Lambda, which carries code; use a layer of Keras")
        if not _is_keras(module):
            raise error(
                f"{name}: cannot be loaded: {subject} is {shown(kind)} of {shown(module)}, "
                f"code that is not part of Keras; {instead}"
            )


def load_keras_model(
    path: Path,
    error: type[PocketlensError] = RunError,
    *,
    cure: str = "train again",
    instead: str = "use a layer of Keras",
) -> Any:
    """The Keras model of an archive; no code from the file is run.

    Args:
        error, cure, instead: as for `check_keras_archive`.

    Raises:
        error: as `check_keras_archive`, or Keras cannot load the archive.
    """
    check_keras_archive(path, error, cure=cure, instead=instead)
    import keras

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as problem:  # h5py, zipfile and Keras each raise their own
        raise error(f"{shown(path)}: cannot be loaded: {' '.join(str(problem).split())[:300]}") from problem


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a configuration that Keras would create."""
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            pending += value.values()
        elif isinstance(value, list):
            pending += value


def _is_keras(module: object) -> bool:
    if module in (None, "builtins", "keras"):
        return True
    return isinstance(module, str) and module.startswith("keras.") and not module.startswith(_NOT_LAYERS)
