"""Damages files at random: the same seed and number give the same bytes on every machine."""

from __future__ import annotations

import binascii
import struct
from collections.abc import Callable

import numpy as np

Rng = np.random.Generator
#: Truncations within this number of bytes from either end of a file are all tried.
_EDGE = 200
_TRIES = 50


def truncations(length: int, steps: int) -> list[int]:
    """Lengths to cut a file to: each of the first and of the last 200, and `steps` evenly between, sorted."""
    edges = {*range(min(_EDGE, length)), *range(max(0, length - _EDGE), length)}
    return sorted(edges | {int(n) for n in np.linspace(0, length - 1, steps)})


def flip_bit(data: bytearray, rng: Rng) -> None:
    data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))


def flip_byte(data: bytearray, rng: Rng) -> None:
    data[rng.integers(len(data))] ^= int(rng.integers(1, 256))


def flip_many(data: bytearray, rng: Rng) -> None:
    for _ in range(int(rng.integers(2, 33))):
        flip_byte(data, rng)


def flip_head(data: bytearray, rng: Rng) -> None:
    """Change bytes in the header, where sizes, offsets and counts stand."""
    for _ in range(int(rng.integers(1, 5))):
        data[rng.integers(min(len(data), 128))] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)]))


def set_integer(data: bytearray, rng: Rng) -> None:
    """Write a 16- or 32-bit integer that a parser may trust, at a random place."""
    width = int(rng.choice([2, 4]))
    value = int(rng.choice([0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, len(data), 50_000])) & (256**width - 1)
    at = int(rng.integers(max(1, len(data) - width)))
    data[at : at + width] = value.to_bytes(width, "little" if rng.random() < 0.5 else "big")


def _range(data: bytearray, rng: Rng) -> slice:
    start = int(rng.integers(len(data)))
    return slice(start, min(len(data), start + int(rng.integers(1, 1 + max(1, len(data) // 4)))))


def zero_range(data: bytearray, rng: Rng) -> None:
    where = _range(data, rng)
    data[where] = bytes(where.stop - where.start)


def random_range(data: bytearray, rng: Rng) -> None:
    where = _range(data, rng)
    data[where] = rng.bytes(where.stop - where.start)


def insert(data: bytearray, rng: Rng) -> None:
    at = int(rng.integers(len(data) + 1))
    data[at:at] = rng.bytes(int(rng.integers(1, 65)))


def remove(data: bytearray, rng: Rng) -> None:
    del data[_range(data, rng)]


def duplicate(data: bytearray, rng: Rng) -> None:
    where = _range(data, rng)
    data[where.stop : where.stop] = data[where]


def append(data: bytearray, rng: Rng) -> None:
    data += rng.bytes(int(rng.integers(1, 1025)))


def truncate(data: bytearray, rng: Rng) -> None:
    del data[int(rng.integers(len(data))) :]


MUTATIONS: tuple[Callable[[bytearray, Rng], None], ...] = (
    flip_bit,
    flip_byte,
    flip_many,
    flip_head,
    set_integer,
    zero_range,
    random_range,
    insert,
    remove,
    duplicate,
    append,
    truncate,
)


def mutate(data: bytes, seed: int, number: int) -> tuple[str, bytes]:
    """The name of the mutation with this number, and the mutant, which always differs from the data."""
    rng = np.random.default_rng([seed, number])
    mutation = MUTATIONS[number % len(MUTATIONS)]
    for _ in range(_TRIES):
        mutant = bytearray(data)
        mutation(mutant, rng)
        if mutant != data:
            return mutation.__name__, bytes(mutant)
    flip_byte(mutant, rng)  # zeroing a file of zeros changes nothing
    return flip_byte.__name__, bytes(mutant)


def with_png_checksums(data: bytes) -> bytes:
    """A PNG with corrected checksums of its chunks, so that damage passes this check and reaches the decoder."""
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 8 + length]
        if len(body) < 4 + length:
            break
        parts += [data[at : at + 4], body, struct.pack(">I", binascii.crc32(body))]
        at += 12 + length
    return b"".join([*parts, data[at:]])
