"""Changes fields of a model: the numbers, texts, lists and tables of its FlatBuffer, not its bytes.

Changed bytes seldom make another valid model. Here a model is unpacked by the generated classes of TensorFlow Lite's
schema, some fields are changed, and it is packed again: the FlatBuffer is sound, and what it says is not.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable, Iterator
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from fuzz.mutations import Rng

#: Numbers that a kernel may not expect.
_INTEGERS = (0, 1, -1, 2, 3, 4, 5, 7, 8, 16, 100, 127, -128, 128, 255, 256, 1000, 65_535, 65_536, 2**31 - 1, -(2**31))
_FLOATS = (0.0, 1.0, -1.0, 1e-45, 1e-38, 1e-9, 1e9, 3e38, float("inf"), float("-inf"), float("nan"))
_TEXTS = (b"", b"\xff\xfe", b"\xc3\x28", b"\x1b[31m", b"serving_default", b"x" * 5000)
_OPTIONS = [name for name in dir(schema) if name.endswith("OptionsT")]
_MAX_CHANGES = 3
_TRIES = 60

#: A place to change: the object or list that holds it, and its attribute or index.
Place = tuple[Any, Any]


def change_fields(flatbuffer: bytes, seed: int, number: int) -> bytes:
    """A model like this one with one to three fields changed; the same seed and number give the same bytes."""
    rng = np.random.default_rng([seed, number])
    for _ in range(_TRIES):
        model = schema.ModelT.InitFromPackedBuf(flatbuffer, 0)
        for _ in range(int(rng.integers(1, _MAX_CHANGES + 1))):
            _change(model, rng)
        try:
            builder = flatbuffers.Builder(1024)
            builder.Finish(model.Pack(builder), b"TFL3")
            changed = bytes(builder.Output())
        except (struct.error, TypeError, ValueError, AttributeError, OverflowError, IndexError):
            continue  # a number that its field cannot hold
        if changed != flatbuffer:
            return changed
    return flatbuffer


def _change(model: Any, rng: Rng) -> None:
    kinds: dict[tuple[str, Any], list[Place]] = {}
    for kind, place in _places(model):
        kinds.setdefault(kind, []).append(place)
    names = sorted(kinds, key=str)
    places = kinds[names[rng.integers(len(names))]]
    holder, key = places[rng.integers(len(places))]
    value = _get(holder, key)
    others = [_get(*place) for place in places]
    changed = _changed(value, key, others, rng)
    if isinstance(holder, list | np.ndarray):
        holder[key] = changed
    else:
        setattr(holder, key, changed)
        if key == "builtinOptions" and changed is not None and rng.random() < 0.7:
            name = type(changed).__name__.removesuffix("T")
            holder.builtinOptionsType = getattr(schema.BuiltinOptions, name, holder.builtinOptionsType)


def _get(holder: Any, key: Any) -> Any:
    return holder[key] if isinstance(holder, list | np.ndarray) else getattr(holder, key)


def _places(value: Any, depth: int = 0) -> Iterator[tuple[tuple[str, Any], Place]]:
    """Each attribute of each table under a value, by its kind: the names of the table and of the attribute."""
    if isinstance(value, list):
        for item in value:
            yield from _places(item, depth + 1)
    elif type(value).__module__ == schema.__name__:
        for key, inner in vars(value).items():
            yield (type(value).__name__, key), (value, key)
            yield from _places(inner, depth + 1)


def _changed(value: Any, key: Any, others: list[Any], rng: Rng) -> Any:
    if rng.random() < 0.15:  # what another table of the kind has
        return copy.deepcopy(others[rng.integers(len(others))])
    if isinstance(value, bool | np.bool_):
        return not value
    if isinstance(value, int | np.integer):
        return _integer(int(value), rng)
    if isinstance(value, float | np.floating):
        return _float(float(value), rng)
    if isinstance(value, bytes | str):
        return _TEXTS[rng.integers(len(_TEXTS))]
    if isinstance(value, np.ndarray):
        return _vector(value.tolist() if value.size < 100_000 else [0], value.dtype, rng)
    if isinstance(value, list):
        return _list(value, rng)
    if key in ("builtinOptions", "builtinOptions2") and rng.random() < 0.7:
        return getattr(schema, _OPTIONS[rng.integers(len(_OPTIONS))])()
    if value is None:
        return _absent(key, others, rng)
    return None


def _absent(key: str, others: list[Any], rng: Rng) -> Any:
    """A value for a field that is absent."""
    present = [other for other in others if other is not None]
    if present:
        return copy.deepcopy(present[rng.integers(len(present))])
    table = getattr(schema, f"{key[0].upper()}{key[1:]}T", None)  # such as `quantization`
    if table is not None:
        return table()
    if key == "sparsity":
        return schema.SparsityParametersT()
    return [int(n) for n in rng.integers(-1, 9, int(rng.integers(0, 5)))]


def _integer(value: int, rng: Rng) -> int:
    near = (value + 1, value - 1, value * 2, value // 2, -value)
    return int(rng.choice(near)) if rng.random() < 0.5 else int(rng.choice(_INTEGERS))


def _float(value: float, rng: Rng) -> float:
    near = (value * 2, value / 2, -value, value * 1e6, value * 1e-6)
    return float(rng.choice(near)) if rng.random() < 0.4 else float(rng.choice(_FLOATS))


def _vector(values: list[Any], dtype: np.dtype[Any], rng: Rng) -> Any:
    number: Callable[[Any, Rng], Any] = _float if dtype.kind == "f" else _integer
    changed = _list(values, rng, lambda value: number(value, rng))
    limits = None if dtype.kind == "f" or changed is None else np.iinfo(dtype)
    if limits is not None:
        changed = [min(max(int(n), limits.min), limits.max) for n in changed]
    return None if changed is None else np.array(changed, dtype)


def _list(values: list[Any], rng: Rng, element: Callable[[Any], Any] | None = None) -> Any:
    """A list with an element changed, left out, doubled or exchanged with another; or an empty one, or none."""
    values = list(values)
    kind = rng.random()
    if kind < 0.04:
        return None
    if kind < 0.08 or not values:
        return [] if kind < 0.08 else [1]
    one, two = (int(n) for n in rng.integers(0, len(values), 2))
    numbers = not hasattr(values[one], "__dict__")
    if numbers and kind < 0.7:
        if element is None and isinstance(values[one], bytes | str):
            values[one] = _TEXTS[rng.integers(len(_TEXTS))]
        else:
            change = element or (_float if isinstance(values[one], float) else _integer)
            values[one] = change(values[one]) if element else change(values[one], rng)  # type: ignore[call-arg]
    elif kind < 0.8:
        del values[one]
    elif kind < 0.9:
        values.insert(two, copy.deepcopy(values[one]))
    else:
        values[one], values[two] = values[two], values[one]
    return values
