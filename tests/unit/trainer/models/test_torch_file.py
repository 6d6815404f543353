"""Tensors in PyTorch's first format: read with their strides, and nothing else of a pickle is built."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from trainer.errors import TrainingError
from trainer.models.torch_file import read_tensors

_STORAGES = {np.dtype("<f4"): "FloatStorage", np.dtype("<i8"): "LongStorage"}
_HEAD = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}})


#: The pickler in Python: the one in C checks that names exist.
PythonPickler: Any = vars(pickle)["_Pickler"]


class Global:
    """Pickled as a name that need not exist here, called with arguments."""

    def __init__(self, name: str) -> None:
        self.name = name


class Call:
    """Pickled as a call of a named function."""

    def __init__(self, name: str, *arguments: Any) -> None:
        self.name, self.arguments = name, arguments


class Stored:
    """Pickled as a reference to numbers that follow the pickles."""

    def __init__(self, key: str, numbers: npt.NDArray[Any], length: int | None = None) -> None:
        self.key, self.numbers, self.length = key, numbers, len(numbers) if length is None else length


class Writer(PythonPickler):  # type: ignore[misc]
    """Writes a pickle of protocol 2, as PyTorch did."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, 2)

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, Stored):
            return None
        kind = Global(f"torch {_STORAGES[value.numbers.dtype]}")
        return ("storage", kind, value.key, "cpu", value.length, None)

    def save(self, value: Any, save_persistent_id: bool = True) -> None:
        if isinstance(value, Global):
            self.write(b"c" + value.name.replace(" ", "\n").encode() + b"\n")
        elif isinstance(value, Call):
            self.save(Global(value.name))
            self.save(value.arguments)
            self.write(b"R")
        else:
            super().save(value, save_persistent_id)


def tensor(stored: Stored, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Call:
    return Call("torch._utils _rebuild_tensor_v2", stored, offset, shape, strides, False, OrderedDict())


def file_of(tensors: Any, *stored: Stored, head: tuple[Any, ...] = _HEAD, keys: list[str] | None = None) -> bytes:
    file = io.BytesIO()
    for value in (*head, tensors, [one.key for one in stored] if keys is None else keys):
        Writer(file).dump(value)
    for one in stored:
        file.write(len(one.numbers).to_bytes(8, "little") + one.numbers.tobytes())
    return file.getvalue()


def floats(count: int, key: str = "a") -> Stored:
    return Stored(key, np.arange(count, dtype="<f4"))


def test_tensors_are_read_with_their_strides_and_offsets() -> None:
    numbers, whole = floats(24), Stored("b", np.array([7], "<i8"))
    found = read_tensors(
        file_of(
            {
                "rows": tensor(numbers, 0, (2, 3, 4), (12, 4, 1)),
                "channels last": tensor(numbers, 0, (2, 3, 4), (1, 8, 2)),
                "part": tensor(numbers, 20, (4,), (1,)),
                "count": tensor(whole, 0, (), ()),
                "none": tensor(numbers, 24, (0,), (1,)),
            },
            numbers,
            whole,
        )
    )
    assert list(found) == ["rows", "channels last", "part", "count", "none"]
    np.testing.assert_array_equal(found["rows"], np.arange(24).reshape(2, 3, 4))
    np.testing.assert_array_equal(found["channels last"], np.arange(24).reshape(3, 4, 2).transpose(2, 0, 1))
    np.testing.assert_array_equal(found["part"], [20, 21, 22, 23])
    assert found["count"].shape == ()
    assert found["count"] == 7
    assert found["none"].size == 0


@pytest.mark.parametrize(
    "name", ["os system", "posix system", "builtins eval", "torch load", "torch._utils _rebuild_tensor", "torch nn"]
)
def test_a_pickle_that_calls_something_else_calls_nothing(name: str, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    attacks: list[tuple[Any, ...]] = [(*_HEAD, {"x": Call(name, f"touch {proof}")}), (Call(name, f"touch {proof}"),)]
    for values in attacks:
        file = io.BytesIO()
        for value in values:
            Writer(file).dump(value)
        with pytest.raises(TrainingError, match=f"names {name.replace(' ', '.')}"):
            read_tensors(file.getvalue())
    assert not proof.exists()
    # The same bytes would do it elsewhere: without that the test would prove nothing.
    if name == "posix system":
        assert pickle.loads(file.getvalue()) == 0
        assert proof.exists()
        proof.unlink()


@pytest.mark.parametrize(
    "make",
    [
        lambda numbers: file_of({"x": tensor(numbers, 0, (5,), (1,))}, numbers),
        lambda numbers: file_of({"x": tensor(numbers, 1, (4,), (1,))}, numbers),
        lambda numbers: file_of({"x": tensor(numbers, 0, (2, 2), (1,))}, numbers),
        lambda numbers: file_of({"x": tensor(numbers, 0, (2, 2), (4, 1))}, numbers),
        lambda numbers: file_of({"x": tensor(numbers, 3, (4,), (-1,))}, numbers),
        lambda numbers: file_of({"x": tensor(numbers, -1, (1,), (1,))}, numbers),
        lambda numbers: file_of({"x": tensor(numbers, 0, (1,) * 9, (1,) * 9)}, numbers),
        lambda numbers: file_of({"x": tensor(numbers, 0, (2**40, 2**40), (0, 0))}, numbers),
        lambda numbers: file_of({"x": 3}, numbers),
        lambda numbers: file_of([1], numbers),
        lambda numbers: file_of({"x": tensor(numbers, 0, (4,), (1,))}, numbers, keys=["b"]),
        lambda numbers: file_of({"x": tensor(numbers, 0, (4,), (1,))}, numbers, keys=["a", "a"]),
        lambda numbers: file_of({"x": tensor(Stored("a", numbers.numbers, 9), 0, (4,), (1,))}, numbers),
        lambda numbers: file_of({"x": tensor(numbers, 0, (4,), (1,))}, numbers, head=(1, *_HEAD[1:])),
        lambda numbers: file_of({"x": tensor(numbers, 0, (4,), (1,))}, numbers, head=(*_HEAD[:2], {})),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(make: Callable[[Stored], bytes]) -> None:
    with pytest.raises(TrainingError):
        read_tensors(make(floats(4)))


def test_a_file_cut_anywhere_is_refused() -> None:
    numbers = floats(4)
    data = file_of({"x": tensor(numbers, 0, (4,), (1,))}, numbers)
    for length in range(len(data)):
        with pytest.raises(TrainingError):
            read_tensors(data[:length])
    assert read_tensors(data)["x"].tolist() == [0, 1, 2, 3]
