"""`.keras` archives and `.h5` files: checked before Keras may load them, so that no code of a file is run."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from runtime.archives import open_archive
from runtime.errors import PocketlensError
from runtime.files import open_regular_file, shown

from ..errors import RunError
from .hdf5 import CONFIG_ATTRIBUTE, adapt_keras_2, is_hdf5, read_hdf5_config

#: The bytes of all members together.
MAX_UNPACKED_BYTES = 4 * 2**30
#: What an archive begins with. A file of another format may have an archive behind it.
_ZIP_START = b"PK\3\4"
_CONFIG = "config.json"
_MAX_CONFIG_BYTES = 64 * 2**20
_METADATA = "metadata.json"
_MAX_METADATA_BYTES = 2**16
#: Parts of Keras whose functions read files, download, or load other models; no layer is among them.
_NOT_LAYERS = ("keras.utils", "keras.src.utils", "keras.saving", "keras.src.saving", "keras.config", "keras.callbacks")
#: Layers of Keras 2 for operations of TensorFlow, which Keras 3 lacks.
_KERAS_2_OPERATIONS = ("TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty")
#: Precisions of a layer that are set to float32, and the kinds of object that name them.
_PRECISIONS = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16", "float64")
_POLICIES = ("DTypePolicy", "FloatDTypePolicy", "Policy")


def read_config(
    path: Path, error: type[PocketlensError], *, cure: str, max_unpacked_bytes: int = MAX_UNPACKED_BYTES
) -> Any:
    """The description of its network in an archive, or in an `.h5` file: parsed JSON.

    Args:
        error: the kind of error to raise.
        cure: for a damaged archive, for the message.
        max_unpacked_bytes: how much all its members may take together.

    Raises:
        error: it is no archive, is damaged, or would take too much memory when unpacked; or an archive is not
            named `.keras`, by which Keras chooses the format that it reads.
    """
    name = shown(path)
    if is_hdf5(path, error):
        return read_hdf5_config(path, error, cure=cure, max_bytes=max_unpacked_bytes)
    if path.suffix != ".keras":
        raise error(f"{name}: cannot be loaded: its name does not end in .keras; {cure}")
    try:
        with io.BufferedReader(open_regular_file(path, error)) as file, open_archive(file) as archive:
            file.seek(0)
            if file.read(len(_ZIP_START)) != _ZIP_START:
                raise ValueError("it begins with something else than an archive")
            _refuse_keras_2(archive, name, error)
            unpacked = sum(member.file_size for member in archive.infolist())
            config = archive.getinfo(_CONFIG)
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


def _refuse_keras_2(archive: zipfile.ZipFile, name: str, error: type[PocketlensError]) -> None:
    """Refuse an archive of Keras 2, whose weights Keras 3 does not find."""
    if _METADATA not in archive.namelist() or archive.getinfo(_METADATA).file_size > _MAX_METADATA_BYTES:
        return
    metadata = json.loads(archive.read(_METADATA))
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    # tf_keras counts as TensorFlow does; its configuration names its own modules.
    of_tf_keras = b'"tf_keras.' in archive.open(_CONFIG).read(_MAX_METADATA_BYTES)
    if of_tf_keras or (isinstance(version, str) and version.startswith("2.")):
        raise error(
            f"{name}: a .keras archive of Keras 2 ({shown(str(version))}), which Keras 3 cannot load; in the "
            "environment that it comes from, write it with model.export('folder') or model.save('model.h5'), and give "
            "that"
        )


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
            raise error(
                f"{name}: cannot be loaded: {subject} is a Lambda, which carries code; use a layer of Keras instead "
                "(Rescaling, Normalization, Reshape, Permute, Activation, UnitNormalization), or write a SavedModel "
                "with model.export('folder')"
            )
        if kind in _KERAS_2_OPERATIONS:
            raise error(
                f"{name}: cannot be loaded: {subject} is an operation of TensorFlow as Keras 2 saved it "
                f"({shown(kind)}); in the environment that it comes from, write a SavedModel with "
                "model.export('folder')"
            )
        registered = described.get("registered_name") or kind  # an .h5 file has it as the class
        if not _is_keras(module) or (isinstance(registered, str) and ">" in registered):
            origin = module if isinstance(module, str) else str(registered).partition(">")[0]
            raise error(
                f"{name}: cannot be loaded: {subject} is {shown(kind)} of {shown(origin)}, "
                f"code that is not part of Keras; {instead}"
            )


def load_keras_model(
    path: Path,
    error: type[PocketlensError] = RunError,
    *,
    cure: str = "train again",
    instead: str = "use a layer of Keras",
) -> Any:
    """The Keras model of an archive or an `.h5` file; no code from the file is run.

    A model that was trained in half, mixed or double precision computes in float32: so do the device's interpreters.

    Args:
        error, cure, instead: as for `check_keras_archive`.

    Raises:
        error: as `check_keras_archive`, or Keras cannot load the archive.
    """
    check_keras_archive(path, error, cure=cure, instead=instead)
    config = read_config(path, error, cure=cure)
    import keras

    try:
        with _loadable(path, config, error) as archive:
            return keras.saving.load_model(archive, compile=False, safe_mode=True)
    except error:
        raise
    except Exception as problem:  # h5py, zipfile and Keras each raise their own
        raise error(f"{shown(path)}: cannot be loaded: {' '.join(str(problem).split())[:300]}") from problem


@contextmanager
def _loadable(path: Path, config: Any, error: type[PocketlensError]) -> Iterator[Path]:
    """The file itself, or a copy that Keras reads in the checked format, in float32.

    Keras goes by the name of a file, and the check by its content: the name is made to fit.

    Args:
        config: from `read_config`; changed in place.
        error: the kind of error to raise.

    Raises:
        error: the file cannot be read any more.
    """
    suffix = ".h5" if is_hdf5(path, error) else ".keras"
    changed = _set_float32(config)
    changed = (suffix == ".h5" and adapt_keras_2(config)) or changed
    if not changed and path.suffix == suffix:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"model{suffix}"
        if not changed or suffix == ".h5":
            shutil.copyfile(path, copy)
        if changed:
            (_write_hdf5_config if suffix == ".h5" else partial(_copy_archive, path))(copy, config)
        yield copy


def _write_hdf5_config(path: Path, config: Any) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        file.attrs[CONFIG_ATTRIBUTE] = json.dumps(config).encode()


def _copy_archive(path: Path, copy: Path, config: Any) -> None:
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
        for member in source.infolist():
            if member.filename == _CONFIG:
                target.writestr(_CONFIG, json.dumps(config))
                continue
            with source.open(member) as content, target.open(member.filename, "w", force_zip64=True) as out:
                shutil.copyfileobj(content, out)


def _set_float32(config: Any) -> bool:
    """Change every policy and dtype of another precision in a configuration to float32; whether there was one."""
    found = False
    pending = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            pending += value.values()
            policy = value.get("config") if value.get("class_name") in _POLICIES else None
            for holder, key in ((value, "dtype"), (policy, "name")):
                if isinstance(holder, dict) and holder.get(key) in _PRECISIONS:
                    holder[key] = "float32"
                    found = True
    return found


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
