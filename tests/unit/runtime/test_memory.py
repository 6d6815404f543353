"""All pictures that are decoded at the same time share one budget of memory."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from fuzz.corpus import encoded, png, png_header
from runtime import ImageError, ImageInput, load_pixels, memory
from runtime.memory import DecodingRoom, MemoryBudget

GREY = ImageInput(4, 4, "grey")
LIMIT = 14 * 2**20


def budget(limit: int = 100) -> MemoryBudget:
    return MemoryBudget(limit, lambda: None)


def started(function: Callable[..., object], *arguments: Any) -> threading.Thread:
    """A thread that calls the function, given time to begin."""
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    thread.join(0.05)
    return thread


def test_an_owner_waits_until_there_is_room() -> None:
    shared = budget()
    shared.take("a", 60)
    second = started(shared.take, "b", 50)
    assert second.is_alive()
    shared.release("a")
    second.join(5)
    assert not second.is_alive()


def test_who_came_first_goes_first() -> None:
    """A large picture is not overtaken by small ones for ever."""
    shared, order = budget(), []

    def take(owner: str, count: int) -> None:
        shared.take(owner, count)
        order.append(owner)
        shared.release(owner)

    shared.take("a", 50)
    threads = [started(take, "large", 100), started(take, "small", 10)]
    assert all(thread.is_alive() for thread in threads)
    shared.release("a")
    for thread in threads:
        thread.join(5)
    assert order == ["large", "small"]


def test_more_than_the_budget_is_lent_to_one_alone() -> None:
    shared = budget()
    shared.take("a", 300)
    second = started(shared.take, "b", 1)
    assert second.is_alive()
    shared.release("a")
    second.join(5)
    assert not second.is_alive()


def test_an_owner_that_needs_more_goes_before_those_that_wait_for_it() -> None:
    shared = budget()
    shared.take("a", 50)
    waiting = started(shared.take, "b", 90)
    shared.take("a", 80)
    shared.release("a")
    waiting.join(5)
    assert not waiting.is_alive()


def test_an_interrupted_wait_leaves_nothing_behind() -> None:
    code = """
import os, signal, threading
from runtime.memory import MemoryBudget
shared = MemoryBudget(100, lambda: None)
shared.take("a", 100)
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    try:
        shared.take("b", 100)
    finally:
        shared.release("b")
except KeyboardInterrupt:
    shared.release("a")
    shared.take("c", 100)
    print("free")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "free\n"


def test_freed_memory_counts_until_the_allocator_has_given_it_back() -> None:
    calls: list[int] = []
    shared = MemoryBudget(100, lambda: calls.append(1))
    for number in range(3):
        shared.take(number, 40)
        shared.release(number)
    assert calls == [1], "120 of 100 bytes have been used by then"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_has_the_whole_budget() -> None:
    shared = budget()
    shared.take("a", 100)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        shared.take("b", 100)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


class Recorder(MemoryBudget):
    """A budget that notes the most that was held at once, and by how many."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, lambda: None)
        self.most = self.owners = 0

    def _fits(self, owner: object, count: int) -> bool:
        fits = super()._fits(owner, count)
        if fits:
            held = {**self._held, owner: count}
            self.most, self.owners = max(self.most, sum(held.values())), max(self.owners, len(held))
        return fits


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """A lowered budget in place of the real one."""
    lowered = Recorder(LIMIT)
    monkeypatch.setattr(memory, "_DECODING", lowered)
    monkeypatch.setattr(memory, "_READING", MemoryBudget(2**20, lambda: None))
    monkeypatch.setattr(memory, "_READING_BYTES", 2**20)
    return lowered


def pictures() -> list[bytes]:
    turned = {"tiffinfo": {274: 6}}
    return [
        encoded(Image.new("RGB", (900, 900)), "PNG"),
        encoded(Image.new("RGB", (900, 900)), "TIFF", compression="tiff_lzw", **turned),
        encoded(Image.new("RGB", (900, 900)), "TIFF", **turned),
        encoded(Image.new("RGBA", (600, 600)), "WEBP"),
        encoded(Image.new("CMYK", (700, 700)), "JPEG", progressive=True),
        encoded(Image.new("P", (900, 900)), "GIF"),
        encoded(Image.new("L", (10, 10)), "PNG"),
    ]


@pytest.mark.parametrize("as_file", [False, True])
def test_pictures_of_all_formats_share_the_budget_and_give_the_same(
    as_file: bool, recorder: Recorder, tmp_path: Path
) -> None:
    sources: list[Any] = pictures()
    expected = [load_pixels(source, GREY) for source in sources]
    if as_file:
        for number, data in enumerate(sources):
            (tmp_path / str(number)).write_bytes(data)
        sources = [tmp_path / str(number) for number in range(len(sources))]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda source: load_pixels(source, GREY), sources * 6))
    for number, pixels in enumerate(found):
        np.testing.assert_array_equal(pixels, expected[number % len(expected)])
    assert recorder.owners > 1
    assert recorder.most <= LIMIT
    assert recorder._held == {}


def test_a_file_that_is_larger_than_the_room_for_reading_is_read_alone(recorder: Recorder, tmp_path: Path) -> None:
    path = tmp_path / "large.bmp"
    Image.new("RGB", (900, 900)).save(path)
    assert path.stat().st_size > 2**20
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(lambda source: load_pixels(source, GREY), [path] * 40))) == 40
    assert recorder.most <= LIMIT


def test_pixels_are_free_when_the_room_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after an error that the caller keeps."""
    at_the_end: list[int] = []
    release = DecodingRoom.__exit__

    def counting(room: DecodingRoom, *error: Any) -> None:
        at_the_end.append(sum(isinstance(thing, PngImageFile) for thing in gc.get_objects()))
        release(room, *error)

    monkeypatch.setattr(DecodingRoom, "__exit__", counting)
    whole = encoded(Image.effect_noise((300, 300), 50), "PNG")
    kept: list[ImageError] = []
    gc.collect()
    gc.disable()
    try:
        before = sum(isinstance(thing, PngImageFile) for thing in gc.get_objects())
        load_pixels(whole, GREY)
        for _ in range(3):
            with pytest.raises(ImageError, match="cannot be decoded") as caught:
                load_pixels(whole[:20_000] + whole[-12:], GREY)
            kept.append(caught.value)
    finally:
        gc.enable()
    assert at_the_end == [before] * 4
    assert len(kept) == 3


def test_the_callers_own_error_is_left_as_it_is() -> None:
    def fail() -> None:
        local = "kept"
        raise KeyError(local)

    try:
        fail()
    except KeyError as error:
        with pytest.raises(ImageError):
            load_pixels(b"no image", GREY)
        found = error.__traceback__
    assert found is not None
    assert found.tb_next is not None
    assert found.tb_next.tb_frame.f_locals == {"local": "kept"}


@pytest.mark.parametrize("channels", [1, 3])
def test_a_turned_tiff_is_never_in_memory_twice(channels: int, recorder: Recorder) -> None:
    """A large one in colour is turned a channel at a time."""
    side = 3000
    turned = encoded(Image.new("RGB", (side, side)), "TIFF", compression="tiff_lzw", tiffinfo={274: 6})
    load_pixels(turned, ImageInput(4, 4, "grey" if channels == 1 else "rgb"))
    assert 0 <= recorder.most - (5 if channels == 1 else 6) * side * side < 5 * 10**6


def test_texts_are_reserved_before_they_are_unpacked(recorder: Recorder) -> None:
    text = zlib.compress(bytes(2**19))
    chunks = [(b"zTXt", b"x%d\0\0" % number + text) for number in range(3)]
    data = png(png_header(4, 4, 8, 0), *chunks, (b"IDAT", zlib.compress(bytes(20))), (b"IEND", b""))
    assert len(data) < 2**16
    load_pixels(data, GREY)
    assert recorder.most == memory.MAX_MEMORY_BYTES


def test_the_segments_of_a_jpeg_count(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encoded(Image.new("L", (8, 8)), "JPEG")
    data = whole[:2] + (b"\xff\xfe\xea\x62" + bytes(60_000)) * 100 + whole[2:]
    recorded: list[int] = []
    take = recorder.take

    def record(owner: object, count: int) -> None:
        recorded.append(count)
        take(owner, count)

    monkeypatch.setattr(recorder, "take", record)
    load_pixels(data, GREY)
    assert recorded[-1] >= 2 * len(data)


@pytest.mark.parametrize(
    ("layout", "shape"), [("rgba", (2000, 2000, 4)), ("yuv420", (3000, 2000)), (None, (2000, 2000, 3))]
)
def test_a_large_array_is_converted_in_strips(layout: str | None, shape: tuple[int, ...], recorder: Recorder) -> None:
    array = np.full(shape, 200, np.uint8)
    load_pixels(array, ImageInput(8, 8), layout)
    assert recorder.most <= 4 * 2000 * 2000 + 9 * 10**6
    tracemalloc.start()
    try:
        load_pixels(array, ImageInput(8, 8), layout)
        assert tracemalloc.get_traced_memory()[1] < 9 * 10**6, "numpy's copies; Pillow's image is not traced"
    finally:
        tracemalloc.stop()


def test_freed_memory_is_not_returned_while_the_same_is_used_again() -> None:
    """Giving it back would make every further picture fault its pages in anew."""
    calls: list[int] = []
    shared = MemoryBudget(100, lambda: calls.append(1))
    for number in range(50):
        shared.take(number, 20)
        shared.release(number)
    assert calls == []


def test_the_coefficients_of_a_progressive_jpeg_count(recorder: Recorder) -> None:
    load_pixels(encoded(Image.new("L", (1000, 1000)), "JPEG", progressive=True), GREY)
    assert recorder.most > 2 * 10**6


def test_a_file_object_that_waits_holds_up_nobody(recorder: Recorder) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as slow:  # noqa: PTH123 - a file descriptor
        waiting = started(load_pixels, slow, GREY)
        assert load_pixels(encoded(Image.new("L", (2000, 2000)), "PNG"), GREY).shape == (4, 4, 1)
        os.write(writing, encoded(Image.new("L", (8, 8)), "PNG"))
        os.close(writing)
        waiting.join(20)
    assert not waiting.is_alive()


REAL = """
import sys
from runtime import ImageInput, load_pixels
from runtime.memory import peak_memory_mb
from runtime.thread_map import ordered_map
list(ordered_map(lambda path: load_pixels(path, ImageInput(96, 96)), sys.argv[1:] * 3, 4))
print(peak_memory_mb())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports the peak")
def test_four_workers_stay_under_300_mb(tmp_path: Path) -> None:
    plans: list[tuple[str, int, dict[str, Any]]] = [
        ("turned.tif", 4600, {"compression": "tiff_lzw", "tiffinfo": {274: 6}}),
        *[(f"small-{number}.png", 2400, {"compress_level": 1}) for number in range(4)],
        ("progressive.jpg", 4000, {"progressive": True, "subsampling": 0}),
        ("large.png", 5600, {"compress_level": 1}),
    ]
    names = []
    for name, side, options in plans:
        Image.new("RGB", (side, side), (1, 2, 3)).save(tmp_path / name, **options)
        names.append(str(tmp_path / name))
    done = subprocess.run([sys.executable, "-c", REAL, *names], capture_output=True, text=True, check=True, timeout=120)
    assert float(done.stdout) < 300
