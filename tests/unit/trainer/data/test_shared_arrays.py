"""The array of a run folder: one copy for all runs with the same data, and each run whole by itself."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from runtime.cache import CACHE_VARIABLE
from runtime.cache_contents import clear_cache
from tests.support.commands import answer, invoke
from tests.support.kills import killed_at_each_change
from trainer.config import TrainingConfig
from trainer.data import load_dataset
from trainer.data.run_folder import read_run
from trainer.data.shared_arrays import share_array
from trainer.errors import RunError
from trainer.run_writer import write_run
from trainer.training import TrainedRun, train

pytestmark = pytest.mark.workstation


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def trained() -> TrainedRun:
    return train(load_dataset("digits"), TrainingConfig("dense", units=(4,), epochs=1))


def saved(path: Path, value: int = 0) -> Path:
    """A new file with an array."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.full((9, 8, 8), value, np.uint8))
    return path


def entry_of(path: Path, cache: Path) -> Path:
    return cache / "arrays" / f"{hashlib.sha256(path.read_bytes()).hexdigest()}.npy"


def test_two_runs_leave_one_copy_that_outlives_the_cache_and_either_run(
    trained: TrainedRun, cache: Path, tmp_path: Path
) -> None:
    runs = [tmp_path / name for name in ("one", "two")]
    for run in runs:
        write_run(trained, run)
    arrays = [run / "images.npy" for run in runs]
    (entry,) = (cache / "arrays").iterdir()
    assert {path.stat().st_ino for path in (*arrays, entry)} == {entry.stat().st_ino}
    content = entry.read_bytes()
    for run in runs:
        described = json.loads((run / "splits.json").read_text())["images"]
        assert described["sha256"] == hashlib.sha256(content).hexdigest() == entry.stem
        assert described["bytes"] == len(content)
    assert "1 in use by runs" in answer("cache")

    shutil.rmtree(runs[0])
    answer("cache", "--clear")
    elsewhere = Path(shutil.copytree(runs[1], tmp_path / "elsewhere"))
    shutil.rmtree(runs[1])
    shutil.rmtree(cache)
    assert (elsewhere / "images.npy").read_bytes() == content
    assert len(read_run(elsewhere).source) == 1797
    assert "359 samples" in answer("evaluate", elsewhere)


def test_vectors_are_shared_too(circles_run: Path) -> None:
    assert (circles_run / "vectors.npy").stat().st_nlink > 1
    assert json.loads((circles_run / "splits.json").read_text())["images"]["file"] == "vectors.npy"


def test_a_changed_array_is_refused(small_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    images = np.load(run / "images.npy")
    images[0, 0, 0] ^= 1
    np.save(run / "images.npy", images)
    message = r"images\.npy has changed since the training: its SHA-256 is not the recorded one\); train again$"
    with pytest.raises(RunError, match=message):
        read_run(run)
    for command in ("evaluate", "export"):
        result = invoke(command, run, "--out", tmp_path / "out")
        assert result.exit_code == 1
        assert "images.npy has changed since the training" in result.stderr


def test_a_run_of_an_earlier_version_is_read(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    document = json.loads((run / "splits.json").read_text())
    document["images"] = {"kind": "array", "file": "images.npy"}
    (run / "splits.json").write_text(json.dumps(document))
    monkeypatch.setenv(CACHE_VARIABLE, os.devnull)
    assert len(read_run(run).source) == 1797
    assert "359 samples" in answer("evaluate", run)


@pytest.mark.parametrize("digest", [None, 7, [], {}, "", "0" * 64])
def test_a_digest_that_is_none_is_not_believed(digest: object, small_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    document = json.loads((run / "splits.json").read_text())
    document["images"]["sha256"] = digest
    (run / "splits.json").write_text(json.dumps(document))
    with pytest.raises(RunError, match="has changed since the training"):
        read_run(run)


def _as_text(entry: Path) -> None:
    entry.write_text("damaged")


def _as_other_pixels(entry: Path) -> None:
    saved(entry, 1)


def _as_link(entry: Path) -> None:
    entry.symlink_to(saved(entry.with_name("target.npy")))


def _as_dangling_link(entry: Path) -> None:
    entry.symlink_to(entry.with_name("nothing"))


@pytest.mark.parametrize("damage", [_as_text, _as_other_pixels, _as_link, _as_dangling_link, os.mkfifo])
def test_a_damaged_entry_is_replaced_and_never_used(
    damage: Callable[[Path], None], cache: Path, tmp_path: Path, messages: list[str]
) -> None:
    array = saved(tmp_path / "run" / "images.npy")
    content, entry = array.read_bytes(), entry_of(array, cache)
    entry.parent.mkdir(parents=True)
    damage(entry)
    share_array(array)
    assert array.read_bytes() == entry.read_bytes() == content
    assert not array.is_symlink()
    assert array.stat().st_ino == entry.lstat().st_ino
    assert [path.name for path in array.parent.iterdir()] == ["images.npy"]
    assert messages == []
    target = entry.with_name("target.npy")
    assert not target.exists() or target.read_bytes() == content


def test_a_run_that_uses_a_damaged_file_keeps_it_to_itself(cache: Path, tmp_path: Path) -> None:
    one, two = (saved(tmp_path / name / "images.npy") for name in ("one", "two"))
    content = two.read_bytes()
    share_array(one)
    one.write_bytes(b"changed in place")
    share_array(two)
    assert one.read_bytes() == b"changed in place"
    assert two.read_bytes() == content == entry_of(two, cache).read_bytes()


def _fail(number: int) -> Callable[..., None]:
    def link(source: Path, target: Path, **_more: object) -> None:
        raise OSError(number, os.strerror(number), str(source), None, str(target))

    return link


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EXDEV, "cache is on another disk"),
        (errno.EPERM, r"\.npy: Operation not permitted"),
        (errno.ENOSPC, r"\.npy: No space left on device"),
        (errno.EMLINK, r"\.npy: Too many links"),
        (errno.EEXIST, r"\.npy: Device or resource busy"),
    ],
)
def test_where_no_link_is_possible_the_run_keeps_its_copy_and_one_line_says_so(
    number: int,
    reason: str,
    cache: Path,
    tmp_path: Path,
    messages: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    array = saved(tmp_path / "run" / "images.npy")
    content = array.read_bytes()
    if number == errno.EEXIST:
        # Another process clears and writes the entry again and again.
        def link(source: Path, target: Path, **_more: object) -> None:
            raise FileExistsError if source == array else FileNotFoundError

        monkeypatch.setattr(os, "link", link)
    else:
        monkeypatch.setattr(os, "link", _fail(number))
    found = share_array(array)
    assert found == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert array.read_bytes() == content
    assert [path.name for path in array.parent.iterdir()] == ["images.npy"]
    (line,) = messages
    assert line.startswith(f"cache: images.npy cannot be shared among runs ({tmp_path}")
    assert line.endswith("), so this run has its own 704 bytes; $POCKETLENS_CACHE names another cache")
    assert len(re.findall(reason, line)) == 1


@pytest.mark.parametrize("place", ["file", "file/below", os.devnull])
def test_a_training_does_without_a_cache_that_cannot_be_written(
    place: str, trained: TrainedRun, tmp_path: Path, messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("a file where the folder should be")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / place))
    write_run(trained, tmp_path / "run")
    (line,) = messages
    assert "arrays: Not a directory), so this run has its own" in line
    assert len(read_run(tmp_path / "run").source) == 1797


def test_an_entry_that_no_run_uses_is_removed_with_the_next_array(cache: Path, tmp_path: Path) -> None:
    arrays = [saved(tmp_path / str(value) / "images.npy", value) for value in range(3)]
    entries = [entry_of(array, cache) for array in arrays]
    notes = cache / "arrays" / "notes.txt"
    for array in arrays[:2]:
        share_array(array)
    notes.write_text("mine")
    arrays[0].unlink()
    share_array(arrays[2])
    assert [entry.exists() for entry in entries] == [False, True, True]
    assert notes.exists()


def test_kills_leave_an_entry_that_is_whole_or_none(tmp_path: Path) -> None:
    def prepare(folder: Path) -> None:
        array = saved(folder / "before" / "images.npy")
        (folder / "cache" / "arrays").mkdir(parents=True)
        _as_text(entry_of(array, folder / "cache"))
        (folder / "cache" / "arrays" / f"{'0' * 64}.npy").write_text("unused")

    def change(folder: Path) -> None:
        os.environ[CACHE_VARIABLE] = str(folder / "cache")
        share_array(saved(folder / "run" / "images.npy"))

    for folder in killed_at_each_change(tmp_path, prepare, change):
        array = folder / "before" / "images.npy"
        entry = entry_of(array, folder / "cache")
        assert not entry.exists() or entry.read_bytes() in (b"damaged", array.read_bytes())
        assert not {path.name for path in entry.parent.iterdir()} - {entry.name, f"{'0' * 64}.npy"}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(CACHE_VARIABLE, str(folder / "cache"))
            later = saved(folder / "later" / "images.npy")
            share_array(later)
        assert [*entry.parent.iterdir()] == [entry]
        assert later.stat().st_ino == entry.stat().st_ino


def test_many_at_once_and_a_clearing_harm_nothing(cache: Path, tmp_path: Path, messages: list[str]) -> None:
    content = saved(tmp_path / "images.npy").read_bytes()

    def work(number: int) -> Path:
        for round_ in range(20):
            array = saved(tmp_path / f"{number}-{round_}" / "images.npy")
            share_array(array)
            assert array.read_bytes() == content
            if number == 0 and not round_ % 5:
                clear_cache(cache)
        return array

    with ThreadPoolExecutor(6) as threads:
        arrays = list(threads.map(work, range(6)))
    assert all([path.name for path in array.parent.iterdir()] == ["images.npy"] for array in arrays)
    assert entry_of(arrays[0], cache).read_bytes() == content
    assert not [line for line in messages if "busy" not in line]


def test_memory_does_not_grow_with_the_array(cache: Path, tmp_path: Path) -> None:
    arrays = [tmp_path / name for name in ("one.npy", "two.npy")]
    for array in arrays:
        with array.open("wb") as file:
            file.truncate(2**26)
    tracemalloc.start()
    try:
        for array in arrays:
            share_array(array)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()
    assert arrays[0].stat().st_ino == arrays[1].stat().st_ino
