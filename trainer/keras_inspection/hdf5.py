"""`.h5` files of Keras: checked before Keras may load them, like `.keras` archives."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from runtime.errors import PocketlensError
from runtime.files import open_regular_file, shown

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: The attribute with the description of the network.
CONFIG_ATTRIBUTE = "model_config"
#: The most groups and datasets in a file.
_MAX_MEMBERS = 100_000
#: Layers that Keras 3 makes without options which Keras 2 wrote for them, and which had no effect.
_UNUSED_OPTIONS = {
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), ("groups",)),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), ("groups",)),
    **dict.fromkeys(
        ("SeparableConv1D", "SeparableConv2D"),
        ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    ),
}


def is_hdf5(path: Path, error: type[PocketlensError]) -> bool:
    """Whether a file begins as HDF5 does, whatever its name: TensorFlow before 2.12 wrote it to `.keras` files, too.

    Raises:
        error: it cannot be read.
    """
    with open_regular_file(path, error) as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


def read_hdf5_config(path: Path, error: type[PocketlensError], *, cure: str, max_bytes: int) -> Any:
    """The file's description of its network: parsed JSON.

    Args:
        error: the kind of error to raise.
        cure: for a damaged file, for the message.
        max_bytes: how much all its datasets may take together.

    Raises:
        error: it is damaged, holds weights alone, refers to other files, or would take too much memory.
    """
    import h5py

    name = shown(path)
    if zipfile.is_zipfile(path):  # the part that is checked might not be the part that is loaded
        raise error(f"{name}: cannot be loaded: it is an HDF5 file and a zip archive at once; {cure}")
    try:
        with h5py.File(path, "r") as file:
            config = file.attrs.get(CONFIG_ATTRIBUTE)
            if config is None:
                raise error(
                    f"{name}: holds weights alone, without their network; load them into it by "
                    f"model.load_weights, and {cure}"
                )
            size = _dataset_bytes(file, name, error)
            if size > max_bytes:
                raise error(
                    f"{name}: cannot be loaded: its weights take {size:,} bytes; at most {max_bytes:,} are read"
                )
            return json.loads(config)
    except PocketlensError:
        raise
    except Exception as problem:  # h5py raises many kinds on damaged files
        reason = " ".join(str(problem).split())[:200]
        raise error(f"{name}: cannot be loaded: a damaged HDF5 file ({reason}); {cure}") from problem


def _dataset_bytes(file: Any, name: str, error: type[PocketlensError]) -> int:
    """The bytes of all datasets of a file that refers to no other file."""
    import h5py

    size, members, pending = 0, 0, [file]
    while pending:
        group = pending.pop()
        for key in group:
            members += 1
            # Soft links are not followed: they could lead back, and Keras writes none.
            if members > _MAX_MEMBERS or not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise error(
                    f"{name}: cannot be loaded: {shown(key)} in it is no plain member; save it again with Keras"
                )
            member = group[key]
            if isinstance(member, h5py.Group):
                pending.append(member)
            elif isinstance(member, h5py.Dataset):
                if member.external or member.is_virtual:
                    raise error(f"{name}: cannot be loaded: {shown(key)} in it lies in another file")
                size += member.nbytes
    return size


def adapt_keras_2(config: Any) -> bool:
    """Change what Keras 2 wrote into an `.h5` file and Keras 3 does not read; whether there was any.

    Args:
        config: from `read_hdf5_config`, in float32; changed in place.
    """
    found, pending = False, [config]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            policy, layer = value.get("dtype"), value.get("config")
            if isinstance(policy, dict) and policy.get("class_name") == "Policy":
                value["dtype"] = "float32"
                found = True
            unused = _UNUSED_OPTIONS.get(str(value.get("class_name")), ())
            if isinstance(layer, dict) and layer.get("groups") == 1:
                for key in unused:
                    found = layer.pop(key, None) is not None or found
            pending += value.values()
    return found
