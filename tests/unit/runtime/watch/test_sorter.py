from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import ActionError
from runtime.watch import sorter as sorters
from runtime.watch.journal_file import Identity
from runtime.watch.sorter import Sorter, folder_names

pytestmark = pytest.mark.fast

HOSTILE = ["../x", "..", ".", "/etc", "a/b", "a\\b", ".hidden", "-rf", "  ", "cat", "CAT", "a_b", "x" * 200, "é" * 200]


class Killed(BaseException):
    """Stands for SIGKILL: no handler of ours runs."""


def image(path: Path, content: bytes = b"picture") -> Identity:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return identity(path)


def identity(path: Path) -> Identity:
    state = path.stat()
    return Identity(state.st_size, state.st_mtime_ns, state.st_ino)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_label_never_leads_elsewhere(tmp_path: Path) -> None:
    sorter = Sorter(f"{tmp_path}/out/{{label}}", HOSTILE)
    seen = set()
    for label in [*HOSTILE, "unknown", "../of another model"]:
        source = tmp_path / "in" / "a.png"
        place = Path(sorter.move(str(source), image(source), label) or "")
        assert place.parent.parent == tmp_path / "out"
        assert place.resolve() == place
        assert not place.parent.name.startswith(".")
        assert len(os.fsencode(place.parent.name)) <= 125
        seen.add(place.parent.name.casefold())
    assert len(seen) == len(HOSTILE) + 2
    assert folder_names(["cat", "T-shirt/top"]) == {"cat": "cat", "T-shirt/top": "T-shirt_top", "unknown": "unknown"}


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    sorter = Sorter(f"{tmp_path}/out/{{label}}", ["cat"])
    for number in range(3):
        source = tmp_path / "in" / "a.tar.png"
        sorter.move(str(source), image(source, b"%d" % number), "cat")
    assert files(tmp_path) == {"out/cat/a.tar.png": b"0", "out/cat/a.tar-1.png": b"1", "out/cat/a.tar-2.png": b"2"}


def test_a_picture_put_in_its_place_is_not_moved(tmp_path: Path) -> None:
    source = tmp_path / "in" / "latest.png"
    old = image(source, b"old one")
    source.rename(tmp_path / "in" / "kept")
    image(source, b"new one")
    assert Sorter(f"{tmp_path}/out/{{label}}", ["cat"]).move(str(source), old, "cat") is None
    assert source.read_bytes() == b"new one"


def test_one_put_there_in_the_last_moment_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "in" / "latest.png"
    old = image(source, b"old one")
    real = os.rename

    def replaced_first(a: str, b: str) -> None:
        image(tmp_path / "in" / "next", b"the new one")
        real(tmp_path / "in" / "next", source)
        real(a, b)

    monkeypatch.setattr(os, "rename", replaced_first)
    assert Sorter(f"{tmp_path}/out/{{label}}", ["cat"]).move(str(source), old, "cat") is None
    assert files(tmp_path) == {"in/latest.png": b"the new one"}


def on_one_disk(_: pytest.MonkeyPatch) -> None:
    """As it is."""


def without_hard_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)


def on_two_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorters, "_same_disk", lambda *_: False)


def on_two_mounts_of_one_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    real = {"link": os.link, "rename": os.rename}

    def within_a_folder(name: str) -> Callable[..., None]:
        def call(source: str, place: str, **options: Any) -> None:
            if Path(source).parent != Path(place).parent:
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            real[name](source, place, **options)

        return call

    for name in real:
        monkeypatch.setattr(os, name, within_a_folder(name))


@pytest.mark.parametrize("arranged", [on_one_disk, without_hard_links, on_two_disks, on_two_mounts_of_one_disk])
def test_a_kill_at_any_moment_leaves_one_picture_and_a_restart_finishes(
    arranged: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arranged(monkeypatch)
    names = ("rename", "link", "unlink", "makedirs", "fsync")
    real = {name: getattr(os, name) for name in names}
    left = 0

    def counted(name: str, *, after: bool) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0 and not after:
                raise Killed
            try:
                return real[name](*arguments, **options)
            finally:
                if left == 0:
                    raise Killed

        return call

    for after in (False, True):
        for moment in range(1, 20):
            folder = tmp_path / f"{after}{moment}"
            image(folder / "out/cat/a.png", b"another")
            source = folder / "in" / "a.png"
            known = image(source)
            sorter = Sorter(f"{folder}/out/{{label}}", ["cat"])
            left = moment
            with monkeypatch.context() as patch:
                for name in names:
                    patch.setattr(os, name, counted(name, after=after))
                try:
                    sorter.move(str(source), known, "cat")
                except Killed:
                    pass
                else:
                    break
            place = Sorter(f"{folder}/out/{{label}}", ["cat"]).move(str(source), known, "cat")
            assert place == f"{folder}/out/cat/a-1.png", moment
            assert files(folder) == {"out/cat/a.png": b"another", "out/cat/a-1.png": b"picture"}, moment
        assert moment > 3


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no second disk here")
def test_another_disk(tmp_path: Path) -> None:
    source = tmp_path / "in" / "a.png"
    known = image(source)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("no second disk here")
        place = Sorter(f"{other}/{{label}}", ["cat"]).move(str(source), known, "cat")
        assert place == f"{other}/cat/a.png"
        assert files(Path(other)) == {"cat/a.png": b"picture"}
        assert Path(place).stat().st_mtime_ns == known.mtime_ns
        assert files(tmp_path) == {}
        image(source, b"next")
        assert (
            Sorter(f"{other}/{{label}}", ["cat"]).move(str(source), identity(source), "cat") == f"{other}/cat/a-1.png"
        )


def test_what_cannot_be_moved_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "in" / "a.png"
    known = image(source)
    sorter = Sorter(f"{tmp_path}/out/{{label}}", ["cat", "dog"])

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def half(_: str, copy: str, **__: Any) -> None:
        Path(copy).write_bytes(b"pict")
        full()

    with monkeypatch.context() as patch:
        patch.setattr(sorters, "_same_disk", lambda *_: False)
        patch.setattr("shutil.copyfile", half)
        with pytest.raises(ActionError, match="No space left"):
            sorter.move(str(source), known, "cat")
    assert files(tmp_path) == {"in/a.png": b"picture"}
    with monkeypatch.context() as patch:
        patch.setattr(sorters, "_place_on_same_disk", full)
        with pytest.raises(ActionError, match=r"cannot be moved to .*cat: No space left"):
            sorter.move(str(source), known, "cat")
    (tmp_path / "out/dog").write_text("a file, no folder")
    with pytest.raises(ActionError, match="File exists"):
        sorter.move(str(source), known, "dog")
    assert files(tmp_path) == {"in/a.png": b"picture", "out/dog": b"a file, no folder"}
    assert identity(source) == known


def test_a_link_does_not_lead_out(tmp_path: Path) -> None:
    source = tmp_path / "in" / "a.png"
    known = image(source)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in" / "cat").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ActionError, match=r"a link leads out of .*; remove it"):
        Sorter(f"{tmp_path}/in/{{label}}", ["cat"]).move(str(source), known, "cat")
    assert files(tmp_path) == {"in/a.png": b"picture"}


def test_one_that_is_in_its_folder_already_stays(tmp_path: Path) -> None:
    source = tmp_path / "cat" / "a.png"
    assert Sorter(f"{tmp_path}/{{label}}", ["cat"]).move(str(source), image(source), "cat") == str(source)
    assert files(tmp_path) == {"cat/a.png": b"picture"}


@pytest.mark.parametrize(
    ("template", "root"),
    [("out/{label}", "out"), ("{label}", "."), ("/{label}/x", "/"), ("a/b-{label}", "a"), ("a/{label}/{label}", "a")],
)
def test_the_folder_that_the_user_named(
    template: str, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Sorter(template, ["cat"]).root == os.path.realpath(root)


@pytest.mark.parametrize("template", ["out", "out/{name}/{label}", "{lable}"])
def test_a_folder_that_cannot_be_meant(template: str) -> None:
    with pytest.raises(ValueError, match="label"):
        Sorter(template, ["cat"])


def test_names_at_their_limits() -> None:
    for label, name in (
        ("x" * 120, "x" * 120),
        ("x" * 121, "x" * 120),
        ("é" * 60, "é" * 60),
        ("x" + "é" * 60, "x" + "é" * 59),  # no half of a letter
        ("x" * 119 + " .y", "x" * 119),  # no space or dot at the end of what is cut
        (" .a b. ", "a b"),
        ("\udce9", "_"),
        ("", "_"),
        ("a\tb", "a_b"),
    ):
        assert folder_names([label])[label] == name
    names = folder_names(["a/b", "a:b", "A?b", "a_b-2"])
    assert names == {"a/b": "a_b", "a:b": "a_b-2", "A?b": "A_b-3", "a_b-2": "a_b-2-2", "unknown": "unknown"}
    assert folder_names(["Unknown"]) == {"Unknown": "Unknown", "unknown": "unknown-2"}


@pytest.mark.parametrize("change", ["size", "time", "inode", "link"])
def test_a_file_that_differs_in_one_number_is_another_one(change: str, tmp_path: Path) -> None:
    source = tmp_path / "in" / "a.png"
    known = image(source)
    if change == "size":
        known = known._replace(size=known.size + 1)
    elif change == "time":
        known = known._replace(mtime_ns=known.mtime_ns + 1)
    elif change == "inode":
        known = known._replace(inode=known.inode + 1)
    else:
        source.rename(tmp_path / "in" / "real.png")
        source.symlink_to("real.png")
        state = source.lstat()
        known = Identity(state.st_size, state.st_mtime_ns, state.st_ino)
    assert Sorter(f"{tmp_path}/out/{{label}}", ["cat"]).move(str(source), known, "cat") is None
    assert source.exists()


def test_a_file_of_a_file_system_without_numbers_is_known_by_size_and_time(tmp_path: Path) -> None:
    source = tmp_path / "in" / "a.png"
    known = image(source)._replace(inode=0)
    assert Sorter(f"{tmp_path}/out/{{label}}", ["cat"]).move(str(source), known, "cat") == f"{tmp_path}/out/cat/a.png"


def test_a_move_that_was_finished_before_a_kill_is_found_under_its_number(tmp_path: Path) -> None:
    sorter = Sorter(f"{tmp_path}/out/{{label}}", ["cat"])
    image(tmp_path / "out/cat/a.png", b"another one")
    source = tmp_path / "in" / "a.png"
    known = image(source)
    place = sorter.move(str(source), known, "cat")
    assert place == f"{tmp_path}/out/cat/a-1.png"
    image(tmp_path / "out/cat/a-2.png", b"later")
    assert sorter.move(str(source), known, "cat") == place
    Path(place).unlink()  # by the user, and then nobody knows where it went
    assert sorter.move(str(source), known, "cat") is None


@pytest.mark.parametrize("arranged", [on_one_disk, without_hard_links, on_two_disks, on_two_mounts_of_one_disk])
@pytest.mark.parametrize("newer", [False, True])
def test_a_claimed_picture_goes_back_unless_a_newer_one_has_its_name(
    newer: bool, arranged: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arranged(monkeypatch)
    source = tmp_path / "in" / "a.png"
    known = image(source)
    with monkeypatch.context() as patch:

        def killed(*_: Any) -> None:
            raise Killed

        patch.setattr(sorters, "_place", killed)
        with pytest.raises(Killed):
            Sorter(f"{tmp_path}/out/{{label}}", ["cat"]).move(str(source), known, "cat")
    (claim,) = (tmp_path / "in").iterdir()
    assert claim.name.startswith(".pocketlens-")
    if newer:
        image(source, b"newer")
    sorters.unclaim(str(source), known)
    assert files(tmp_path) == {"in/a.png": b"newer" if newer else b"picture"}
    sorters.unclaim(str(source), known)
    assert files(tmp_path) == {"in/a.png": b"newer" if newer else b"picture"}


def test_a_folder_whose_name_only_begins_like_the_root_is_outside(tmp_path: Path) -> None:
    source = tmp_path / "in" / "a.png"
    known = image(source)
    (tmp_path / "out-elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/cat").symlink_to(tmp_path / "out-elsewhere")
    (tmp_path / "out/dog").symlink_to(tmp_path / "out")
    sorter = Sorter(f"{tmp_path}/out/{{label}}", ["cat", "dog"])
    with pytest.raises(ActionError, match="a link leads out of"):
        sorter.move(str(source), known, "cat")
    assert sorter.move(str(source), known, "dog") == f"{tmp_path}/out/dog/a.png"  # within it, as the user arranged


def test_a_label_of_another_model_gets_a_plain_folder(tmp_path: Path) -> None:
    assert Sorter(f"{tmp_path}/{{label}}/{{label}}", ["cat"]).folder("../x") == f"{tmp_path}/_x/_x"


def twin(path: Path, known: Identity) -> None:
    """Another picture of the same size and time."""
    image(path, b"another")
    os.utime(path, ns=(known.mtime_ns, known.mtime_ns))


def test_a_picture_of_the_same_size_and_time_is_not_taken_for_the_one_of_an_unfinished_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in" / "a.png"
    known = image(source)
    twin(tmp_path / "out/cat/a.png", known)
    sorter = Sorter(f"{tmp_path}/out/{{label}}", ["cat"])

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(sorters, "_place", killed)
        with pytest.raises(Killed):
            sorter.move(str(source), known, "cat")
    assert sorter.move(str(source), known, "cat") == f"{tmp_path}/out/cat/a-1.png"
    assert files(tmp_path) == {"out/cat/a.png": b"another", "out/cat/a-1.png": b"picture"}


def test_on_another_disk_the_copy_is_synced_before_the_picture_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_two_disks(monkeypatch)
    source = tmp_path / "in" / "a.png"
    known = image(source)
    twin(tmp_path / "out/cat/a.png", known)  # a move that was not interrupted looks for no earlier copy
    calls: list[str] = []
    real_sync, real_unlink = os.fsync, os.unlink

    def fsync(handle: int) -> None:
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")  # noqa: PTH112
        real_sync(handle)

    def unlink(path: str) -> None:
        if Path(path).parent == source.parent:
            calls.append("removed")
        real_unlink(path)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "unlink", unlink)
    place = Sorter(f"{tmp_path}/out/{{label}}", ["cat"]).move(str(source), known, "cat")
    assert place == f"{tmp_path}/out/cat/a-1.png"
    assert calls == ["file", "folder", "removed"]
    assert files(tmp_path) == {"out/cat/a.png": b"another", "out/cat/a-1.png": b"picture"}


def test_a_long_name_is_moved(tmp_path: Path) -> None:
    source = tmp_path / "in" / f"{'é' * 125}.png"
    place = Sorter(f"{tmp_path}/out/{{label}}", ["cat"]).move(str(source), image(source), "cat")
    assert files(tmp_path) == {f"out/cat/{source.name}": b"picture"}
    assert place == f"{tmp_path}/out/cat/{source.name}"


def test_what_only_looks_like_a_claim_stays(tmp_path: Path) -> None:
    for name in (".pocketlens-watch.sqlite", ".pocketlens-1-2-3.moving", ".pocketlens-1-2-x.moving-a.png", "a.png"):
        image(tmp_path / name)
    (tmp_path / ".pocketlens-1-2-3.moving-link").symlink_to("a.png")
    (tmp_path / ".pocketlens-1-2-3.moving-folder").mkdir()
    assert sorters.return_orphans([str(tmp_path), str(tmp_path / "none")]) == []
    image(tmp_path / ".pocketlens-1-2-3.moving-a.png", b"mine")
    assert sorters.return_orphans([str(tmp_path)]) == [(".pocketlens-1-2-3.moving-a.png", f"{tmp_path}/a-1.png")]
    assert (tmp_path / "a-1.png").read_bytes() == b"mine"
