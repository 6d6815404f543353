"""`pocketlens cache`: what lies in the cache, and what is removed by `--clear`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from runtime.cache import CACHE_VARIABLE
from runtime.cache_contents import CacheError, cache_entries, clear_cache
from tests.support.commands import answer, invoke

pytestmark = pytest.mark.fast

DIGEST = "0123456789abcdef" * 4
OURS = (f"arrays/{DIGEST}.npy", f"sealed/{DIGEST}-v2", "trials/.trial-x1_y", f"trials/{DIGEST}-litert-2-v1.json")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with one file of each of our names, of 10 bytes; a run uses the array."""
    folder = tmp_path / "cache"
    for name in OURS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"0123456789")
    (tmp_path / "run").mkdir()
    os.link(folder / OURS[0], tmp_path / "run" / "images.npy")
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    return folder


def test_place_entries_and_sizes_are_shown(cache: Path) -> None:
    lines = answer("cache").splitlines()
    assert lines[0] == f"{cache}: 4 entries, 40 bytes"
    assert [line.split() for line in lines[1:]] == [
        ["entries", "bytes"],
        ["arrays", "images", "and", "readings", "of", "data", "sets,", "1", "in", "use", "by", "runs", "1", "10"],
        ["trials", "verdicts", "on", "models", "that", "were", "tried", "2", "20"],
        ["sealed", "marks", "of", "models", "that", "were", "checked", "1", "10"],
        ["folds", "scores", "and", "checkpoints", "of", "data", "errors", "0", "0"],
    ]
    found = json.loads(answer("cache", "--json"))
    assert (found["folder"], found["cleared"], found["bytes"], found["freed"]) == (str(cache), False, 40, 0)
    assert found["entries"][0] == {"kind": "arrays", "name": f"{DIGEST}.npy", "bytes": 10, "links": 1}
    assert {f"{entry['kind']}/{entry['name']}" for entry in found["entries"]} == {*OURS}


def test_clear_frees_what_no_run_uses_and_says_how_much(cache: Path, tmp_path: Path) -> None:
    text = f"{cache}: 4 entries removed, 30 bytes freed; 10 bytes stay in the run folders that use them\n"
    assert answer("cache", "--clear") == text
    assert (tmp_path / "run" / "images.npy").read_bytes() == b"0123456789"
    assert [path for path in cache.rglob("*") if not path.is_dir()] == []
    assert answer("cache", "--clear") == f"{cache}: 0 entries removed, 0 bytes freed\n"


def test_clear_in_json(cache: Path) -> None:
    found = json.loads(answer("cache", "--clear", "--json"))
    assert (found["cleared"], found["bytes"], found["freed"], len(found["entries"])) == (True, 40, 30, 4)
    assert json.loads(answer("cache", "--json"))["entries"] == []


def test_only_our_files_are_removed_and_no_link_is_followed(cache: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / f"{DIGEST}.npy").write_text("mine")
    (cache / "sealed" / f"{DIGEST}-v2").unlink()
    (cache / "sealed").rmdir()
    (cache / "sealed").symlink_to(elsewhere)
    other = "f" * 64
    (cache / "arrays" / f"{other}.npy").symlink_to(elsewhere / f"{DIGEST}.npy")
    (cache / "trials" / f"{other}.json").mkdir()
    os.mkfifo(cache / "trials" / f"{other}-pipe.json")
    for name in ("notes.txt", "arrays/notes.npy", f"arrays/{DIGEST[:-1]}.npy", f"{DIGEST}.npy"):
        (cache / name).write_text("mine")
    others = {path for path in cache.rglob("*") if str(path.relative_to(cache)) not in OURS}
    clear_cache(cache)
    assert {*cache.rglob("*")} == others
    assert (elsewhere / f"{DIGEST}.npy").read_text() == "mine"


def test_a_cache_behind_a_link_of_a_person_is_theirs_too(cache: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(cache)
    assert len(clear_cache(link)) == 4
    assert link.is_symlink()


def test_no_cache_yet_is_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "none"))
    assert answer("cache") == f"{tmp_path / 'none'}: 0 entries, 0 bytes\n"
    answer("cache", "--clear")
    assert not (tmp_path / "none").exists()


def test_what_is_no_place_for_a_cache_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, os.devnull)
    for options in ((), ("--clear",)):
        result = invoke("cache", *options)
        assert result.exit_code == 1
        assert result.stderr == f"error: {os.devnull}: not a folder; name another cache with $POCKETLENS_CACHE\n"

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in (CACHE_VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    result = invoke("cache")
    assert result.exit_code == 1
    assert result.stderr == "error: cache: no home folder to put it in; name a folder with $POCKETLENS_CACHE\n"


def test_an_entry_that_cannot_be_removed_or_read_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_more: object, **_others: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)  # root may remove everything
        with pytest.raises(CacheError, match=f"{DIGEST}.npy: cannot be removed: Permission denied; make its folder"):
            clear_cache(cache)
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(CacheError, match="arrays: cannot be read: Permission denied; name another cache with"):
        cache_entries(cache)


def test_help_has_an_example() -> None:
    text = answer("cache", "--help")
    assert "pocketlens cache --clear" in text.partition("Example:")[2]
    assert "$POCKETLENS_CACHE" in text
