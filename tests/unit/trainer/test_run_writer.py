"""The place of a run folder: kills while it is replaced, a second training, and a person's own files in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.kills import killed_at_each_change
from trainer import run_writer
from trainer.errors import RunError
from trainer.files import exchange
from trainer.run_writer import check_target, reserve_target

FILES = ("model.keras", "contract.json", "splits.json")


def generation(text: str) -> Callable[[Path], None]:
    """A forced training in a folder, whose run has this text in each of its files."""

    def train(folder: Path) -> None:
        with reserve_target(folder / "run", force=True), run_writer._whole_folder(folder / "run") as partial:
            for name in FILES:
                (partial / name).write_text(text)

    return train


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_kill_leaves_the_old_run_or_the_new_one_whole(
    can_exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_exchange:
        monkeypatch.setattr(run_writer, "exchange", lambda *paths: False)
    states = []
    for folder in killed_at_each_change(tmp_path, generation("old"), generation("new")):
        run = folder / "run"
        if not can_exchange and not run.exists():  # the next start puts it back
            with pytest.raises(RunError, match="holds a run already"), reserve_target(run, force=False):
                pass
        found = {path.name: path.read_text() for path in run.iterdir()}
        assert found in (dict.fromkeys(FILES, "old"), dict.fromkeys(FILES, "new"))
        states.append(found["contract.json"])
        generation("newer")(folder)
        assert [path.name for path in folder.iterdir()] == ["run"]
        assert (run / "contract.json").read_text() == "newer"
    assert sorted(set(states)) == ["new", "old"]


def test_a_first_run_that_is_killed_is_whole_or_not_there(tmp_path: Path) -> None:
    for folder in killed_at_each_change(tmp_path, lambda folder: None, generation("new")):
        run = folder / "run"
        assert not run.exists() or sorted(path.name for path in run.iterdir()) == sorted(FILES)


def test_a_second_training_to_the_same_place_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("run")
    with reserve_target(tmp_path / "run", force=False):
        for place in (tmp_path / "run", link):
            with (
                pytest.raises(RunError, match="another training is writing this run; wait for it, or name another"),
                reserve_target(place, force=True),
            ):
                pass
        with reserve_target(tmp_path / "other", force=False):
            pass
    with reserve_target(tmp_path / "run", force=False):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


@pytest.mark.parametrize("name", ["notes.txt", "labels", ".hidden", "int8.tflite"])
def test_a_run_folder_with_a_persons_own_file_is_refused_and_kept(name: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    generation("old")(tmp_path)
    (run / name).write_text("mine")
    message = f"run: holds {name}, which is no file of a run and would be lost with it; move it away"
    with pytest.raises(RunError, match=message):
        check_target(run, force=True)
    # A file that comes while the training runs is not lost either.
    with pytest.raises(RunError, match=message), run_writer._whole_folder(run) as partial:
        (partial / "contract.json").write_text("new")
    assert {path.name for path in run.iterdir()} == {*FILES, name}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_leftovers_of_a_killed_training_go_and_a_persons_files_in_them_stay(tmp_path: Path) -> None:
    leftover, mixed = tmp_path / ".run.partial-abc", tmp_path / ".run.partial-def"
    for folder in (leftover, mixed):
        folder.mkdir()
        (folder / "model.keras").write_text("old")
        (folder / ".curves.png.partial-xyz").write_text("half")
    (mixed / "notes.txt").write_text("mine")
    with reserve_target(tmp_path / "run", force=False):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [mixed.name]
    assert [path.name for path in mixed.iterdir()] == ["notes.txt"]


def test_a_link_to_a_run_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to("disk/run")
    for text in ("old", "new"):
        generation(text)(tmp_path)
        assert (tmp_path / "run").is_symlink()
        assert (tmp_path / "disk" / "run" / "contract.json").read_text() == text
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["run"]


def test_two_folders_are_exchanged_or_both_stay(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "name").write_text(folder.name)
    if exchange(one, other):
        assert [(folder / "name").read_text() for folder in (one, other)] == ["other", "one"]
    with pytest.raises(FileNotFoundError, match="missing"):
        exchange(one, tmp_path / "missing")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError("64 requested and 0 written")])
@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_a_full_disk_is_named_with_the_cure(error: OSError, has_checkpoint: bool, tmp_path: Path) -> None:
    if has_checkpoint:
        (tmp_path / ".run.checkpoint.npz").write_bytes(b"")
    with pytest.raises(RunError) as raised, run_writer._whole_folder(tmp_path / "run"):
        raise error
    cure = ", and `resume` goes on after the last epoch" if has_checkpoint else ""
    reason = error.strerror or str(error)
    assert str(raised.value) == f"{tmp_path / 'run'}: the run cannot be written ({reason}); make room there{cure}"
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]
