"""Decoded pictures on disk: used again, believed only where they are whole, done without where there is no room."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from PIL.PngImagePlugin import PngImageFile

from runtime import ImageInput, load_pixels
from tests.support.datasets import draw_colour_image
from trainer.data import Dataset, Geometry, load_dataset
from trainer.data import dataset as dataset_module
from trainer.data import image_cache as cache_module
from trainer.data.image_cache import CachePlace, PixelCache, open_cache
from trainer.data.sources import FileSource
from trainer.errors import DatasetError

pytestmark = pytest.mark.fast

GEOMETRY = Geometry((16, 20), "rgb")
ROOT = Path(__file__).parents[4]


def load(root: Path, place: CachePlace, geometry: Geometry = GEOMETRY) -> Dataset:
    return load_dataset(str(root), geometry, cache=place)


def plain(data: Dataset) -> npt.NDArray[Any]:
    """What the pixels are to be, straight from the files."""
    assert isinstance(data.source, FileSource)
    assert isinstance(data.input, ImageInput)
    return np.stack([load_pixels(data.source.root / path, data.input) for path in data.source.paths])


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each picture that is decoded."""
    calls: list[int] = []

    def counting(image: Any, spec: ImageInput) -> Any:
        calls.append(len(image))
        return load_pixels(image, spec)

    monkeypatch.setattr(dataset_module, "load_pixels", counting)
    return calls


def test_a_second_training_decodes_nothing(colour_folder: Path, tmp_path: Path, decoded: list[int]) -> None:
    first = load(colour_folder, tmp_path / "cache")
    assert len(decoded) == 90
    np.testing.assert_array_equal(first.pixels[:], plain(first))
    again = load(colour_folder, tmp_path / "cache")
    np.testing.assert_array_equal(again.pixels[:], plain(first))
    assert len(decoded) == 90
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} == {".index", ".pixels"}


def test_png_files_are_decoded_once_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted where Pillow does it: their headers are looked at too, which must not decode them."""
    for label in ("red", "blue"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for seed in range(4):
            draw_colour_image(label, seed + 40 * len(label)).save(tmp_path / "set" / label / f"{seed}.png")
    loads: list[str] = []
    load_png = PngImageFile.load

    def counting(image: PngImageFile) -> Any:
        if image.tile:  # it is empty once the pixels are there
            loads.append(image.mode)
        return load_png(image)

    monkeypatch.setattr(PngImageFile, "load", counting)
    first = load(tmp_path / "set", tmp_path / "cache")
    assert len(loads) == 8
    again = load(tmp_path / "set", tmp_path / "cache")
    np.testing.assert_array_equal(again.pixels[:], first.pixels[:])
    assert len(loads) == 8


def test_only_what_is_new_is_decoded(colour_folder: Path, tmp_path: Path, decoded: list[int]) -> None:
    load(colour_folder, tmp_path / "cache")
    draw_colour_image("red", 5000).save(colour_folder / "red" / "0.jpg")  # the same name, another picture
    draw_colour_image("red", 5001).save(colour_folder / "red" / "new.png")
    data = load(colour_folder, tmp_path / "cache")
    assert len(decoded) == 92
    np.testing.assert_array_equal(data.pixels[:], plain(data))
    other = load(colour_folder, tmp_path / "cache", Geometry((16, 20), "rgb", "pad"))
    assert len(decoded) == 92 + 91
    np.testing.assert_array_equal(other.pixels[:], plain(other))


def test_equal_files_are_decoded_once(colour_folder: Path, decoded: list[int]) -> None:
    shutil.copy(colour_folder / "red" / "0.jpg", colour_folder / "blue" / "copy.jpg")
    assert len(load(colour_folder, "temporary").left_out) == 1
    assert len(decoded) == 90


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for place in range(7, len(content), 997):
        content[place] ^= 0x10
    path.write_bytes(content)


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "pixels flipped": (".pixels", _flip),
    "pixels cut off": (".pixels", lambda path: os.truncate(path, 1000)),
    "pixels gone": (".pixels", Path.unlink),
    "index flipped": (".index", _flip),
    "index cut off": (".index", lambda path: os.truncate(path, 1001)),
    "index is noise": (".index", lambda path: path.write_bytes(np.random.default_rng(0).bytes(4321))),
    "index gone": (".index", Path.unlink),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_cache_is_mended(what: str, colour_folder: Path, tmp_path: Path, decoded: list[int]) -> None:
    expected = plain(load(colour_folder, tmp_path / "cache"))
    suffix, damage = DAMAGE[what]
    damage(next((tmp_path / "cache").glob(f"*{suffix}")))
    decoded.clear()
    np.testing.assert_array_equal(load(colour_folder, tmp_path / "cache").pixels[:], expected)
    assert decoded
    decoded.clear()
    np.testing.assert_array_equal(load(colour_folder, tmp_path / "cache").pixels[:], expected)
    assert not decoded


def test_damage_in_the_middle_of_a_training_is_mended(colour_folder: Path, tmp_path: Path) -> None:
    data = load(colour_folder, tmp_path / "cache")
    records = next((tmp_path / "cache").glob("*.pixels"))
    with records.open("r+b") as file:
        file.write(b"\0" * 5000)
    np.testing.assert_array_equal(data.pixels[:], plain(data))
    shutil.rmtree(tmp_path / "cache")
    np.testing.assert_array_equal(data.pixels[:], plain(data))


_CHILD = """
import sys
from pathlib import Path
import numpy as np
from trainer.data import Geometry, load_dataset
data = load_dataset(sys.argv[1], Geometry((16, 20), "rgb"), cache=Path(sys.argv[2]))
np.save(sys.argv[3], data.pixels[:])
"""


def _in_a_child(before: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", before + _CHILD, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_two_trainings_may_fill_one_cache(colour_folder: Path, tmp_path: Path, decoded: list[int]) -> None:
    children = [_in_a_child("", colour_folder, tmp_path / "cache", tmp_path / f"{i}.npy") for i in range(2)]
    assert [child.communicate(timeout=120) and child.returncode for child in children] == [0, 0]
    data = load(colour_folder, tmp_path / "cache")
    for pixels in (np.load(tmp_path / "0.npy"), np.load(tmp_path / "1.npy"), data.pixels[:]):
        np.testing.assert_array_equal(pixels, plain(data))
    assert not decoded


def test_a_disk_that_fills_up_costs_time_and_nothing_else(colour_folder: Path, tmp_path: Path) -> None:
    """The system refuses what goes beyond forty pictures, as a full disk does."""
    limit = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({40 * 960}, {40 * 960}))\n"
    # Saving the array would exceed the limit too: it is compared in the child.
    compare = _CHILD.replace("np.save(sys.argv[3], data.pixels[:])", "print(int(data.pixels[:].sum(dtype='int64')))")
    command = [sys.executable, "-c", limit + compare, str(colour_folder), str(tmp_path / "cache")]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    data = load(colour_folder, "none")
    assert int(child.stdout) == plain(data).sum(dtype=np.int64)
    told = [line for line in child.stderr.splitlines() if line.startswith("cache: ")]
    assert len(told) == 1
    assert "File too large" in told[0]
    assert 0 < next((tmp_path / "cache").glob("*.pixels")).stat().st_size <= 40 * 960


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=2**28 + 1000))


@pytest.mark.usefixtures("no_room")
@pytest.mark.parametrize("named", [True, False])
def test_without_room_pictures_are_decoded_each_time(
    named: bool, colour_folder: Path, tmp_path: Path, decoded: list[int], messages: list[str]
) -> None:
    data = load(colour_folder, tmp_path / "cache" if named else "temporary")
    decoded.clear()
    for _ in range(2):
        np.testing.assert_array_equal(data.pixels[:], plain(data))
    assert len(decoded) == 180
    told = [line for line in messages if line.startswith("cache: ")]
    assert len(told) == 1
    assert "has room for" in told[0]
    if named:
        assert all(path.stat().st_size == 0 for path in (tmp_path / "cache").iterdir())


def test_none_keeps_nothing(colour_folder: Path, decoded: list[int], messages: list[str]) -> None:
    data = load(colour_folder, "none")
    assert len(decoded) == 90  # to see that each can be
    np.testing.assert_array_equal(data.pixels[3:7], plain(data)[3:7])
    assert len(decoded) == 94
    assert not messages


def test_a_temporary_cache_leaves_nothing_behind(
    colour_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[int]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    data = load(colour_folder, "temporary")
    np.testing.assert_array_equal(data.pixels[:], plain(data))
    assert len(decoded) == 90
    assert list((tmp_path / "temporary").iterdir()) == []


class _Mount(NamedTuple):
    folder: Path
    kind: str


def _mounts() -> Iterator[_Mount]:
    if Path("/proc/self/mounts").exists():
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, folder, kind, *_ = line.split(" ")
            yield _Mount(Path(folder), kind)


def test_a_folder_in_memory_is_known() -> None:
    memory = [m.folder for m in _mounts() if m.kind == "tmpfs" and os.access(m.folder, os.R_OK | os.X_OK)]
    if not memory:
        pytest.skip("no file system in memory is mounted here")
    assert cache_module._is_memory(memory[0])
    assert not cache_module._is_memory(Path("/proc"))


@pytest.mark.skipif(not os.access("/var/tmp", os.W_OK), reason="no second temporary folder")
def test_large_caches_stay_out_of_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, messages: list[str]) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(cache_module, "_is_memory", lambda folder: folder == tmp_path)
    spec = ImageInput(224, 224)
    few, many = ({number.to_bytes(32, "big") for number in range(count)} for count in (10, 1000))
    kept = open_cache("temporary", spec, few)
    assert kept is not None
    assert os.fstat(kept._records).st_dev == tmp_path.stat().st_dev
    elsewhere = open_cache("temporary", spec, many)
    assert elsewhere is not None
    assert str(Path(f"/proc/self/fd/{elsewhere._records}").readlink()).startswith("/var/tmp")
    monkeypatch.setattr(cache_module, "_is_memory", lambda _folder: True)
    assert open_cache("temporary", spec, many) is None
    assert f"{tmp_path} lies in memory" in messages[-1]


def test_a_place_that_is_no_folder(colour_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DatasetError, match=r"file: cannot hold decoded images: .*`cache`"):
        load(colour_folder, tmp_path / "file")


def test_a_pipe_in_the_place_of_a_record_does_not_hang(colour_folder: Path, tmp_path: Path) -> None:
    load(colour_folder, tmp_path / "cache")
    records = next((tmp_path / "cache").glob("*.pixels"))
    records.unlink()
    os.mkfifo(records)
    with pytest.raises(DatasetError, match="not a regular file"):
        load(colour_folder, tmp_path / "cache")


def test_a_picture_under_anothers_name_is_not_believed(tmp_path: Path) -> None:
    spec = ImageInput(2, 2, "grey")
    one, two = (bytes([n]) * 32 for n in (1, 2))
    cache = open_cache(tmp_path, spec, {one, two})
    assert isinstance(cache, PixelCache)
    pixels = np.full((2, 2, 1), 7, np.uint8)
    cache.write(one, pixels)
    cache.write(two, pixels)
    cache._places[one], cache._places[two] = cache._places[two], cache._places[one]
    assert not cache.read(one, np.empty_like(pixels))


def test_what_has_no_image_files_needs_no_cache(tmp_path: Path) -> None:
    (tmp_path / "readings.csv").write_text("a,b,label\n" + "".join(f"{n},{n / 2},{'xy'[n % 2]}\n" for n in range(20)))
    for name in ("digits", "circles", str(tmp_path / "readings.csv")):
        with pytest.raises(DatasetError, match="`cache`"):
            load_dataset(name, Geometry(), cache=tmp_path)
