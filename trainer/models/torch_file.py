"""Tensors from a file of PyTorch's first format (before its release 1.6), without PyTorch, and without running code.

The format is five pickles, and then the numbers: a magic number, a version, the sizes of types, the tensors by name,
and the keys of the storages in the order in which their numbers follow. A tensor is a view of a storage, with an offset
and strides: `torch/serialization.py`, `_legacy_save`.
"""

from __future__ import annotations

import collections
import io
import math
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from ..errors import TrainingError

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_TYPES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
_MAX_DIMENSIONS = 8


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype[Any]
    length: int


class _View(NamedTuple):
    """A tensor whose numbers have not been read yet; strides count numbers, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a file by name.

    Args:
        data: the content of the file. Check where it comes from first: a pickle may be made to take much memory.

    Raises:
        TrainingError: it is no such file, is cut off, or names anything but tensors of float32 and int64.
    """
    file = io.BytesIO(data)
    try:
        magic, version, sizes = (_Unpickler(file).load() for _ in range(3))
        if (magic, version) != (_MAGIC, _VERSION) or not sizes["little_endian"]:
            raise TrainingError("not a file of tensors as PyTorch wrote them before 1.6")
        views, keys = _Unpickler(file).load(), _Unpickler(file).load()
        named = {str(name): view for name, view in views.items() if isinstance(view, _View)}
        storages = {view.storage.key: view.storage for view in named.values()}
        numbers = {key: _numbers(file, storages[key]) for key in keys if key in storages}
        if len(named) != len(views) or len(numbers) != len(keys):
            raise TrainingError("holds something else beside its tensors")
        return {name: _strided(numbers[view.storage.key], view) for name, view in named.items()}
    except TrainingError:
        raise
    except Exception as error:  # what a damaged pickle makes Python raise cannot be listed
        raise TrainingError(f"cannot be read as tensors of PyTorch: {type(error).__name__}: {error}"[:300]) from error


class _Unpickler(pickle.Unpickler):
    """Builds dictionaries, numbers, texts and views, and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Callable[..., Any] | str] = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _view,
            **{("torch", storage): storage for storage in _TYPES},
        }
        if (module, name) not in known:
            raise TrainingError(f"names {module}.{name}, which is no tensor; nothing of it was run")
        return known[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage, key, _place, length, view = pid
        if kind != "storage" or view is not None:
            raise TrainingError("holds a storage of a kind that is not known")
        return _Storage(str(key), _TYPES[storage], int(length))


def _view(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_more: object) -> _View:
    return _View(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _numbers(file: io.BytesIO, storage: _Storage) -> npt.NDArray[Any]:
    count = int.from_bytes(file.read(8), "little")
    content = file.read(count * storage.dtype.itemsize)
    if count != storage.length or len(content) != count * storage.dtype.itemsize:
        raise TrainingError(f"ends within its numbers, or holds {count:,} where {storage.length:,} belong")
    return np.frombuffer(content, storage.dtype)


def _strided(numbers: npt.NDArray[Any], view: _View) -> npt.NDArray[Any]:
    """The numbers in the tensor's own order. Without its strides a channels-last kernel would be shuffled."""
    shape, strides = view.shape, view.strides
    if (
        len(shape) != len(strides)
        or len(shape) > _MAX_DIMENSIONS
        or min((view.offset, *shape, *strides), default=0) < 0
    ):
        _refuse(view)
    last = view.offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    count: int = math.prod(shape)
    if count > len(numbers) or (count and last >= len(numbers)):
        _refuse(view)
    item = numbers.itemsize
    window = np.lib.stride_tricks.as_strided(
        numbers[view.offset :], shape, [stride * item for stride in strides], writeable=False
    )
    return np.array(window)


def _refuse(view: _View) -> NoReturn:
    raise TrainingError(f"a tensor of shape {view.shape} reaches beyond its {view.storage.length:,} numbers")
