"""Snapshots, uncertain frames and commands: what is kept, what goes, and what a folder cannot do."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.outputs import uncertain
from runtime.outputs.command import CommandSink
from runtime.outputs.event import Event
from runtime.outputs.outputs import Outputs
from runtime.outputs.pictures import SnapshotSink, file_stem
from runtime.outputs.sink import OutputError
from runtime.outputs.uncertain import UncertainFrames, fingerprint_of, margin_of
from tests.support.outputs import event_of, wait_until


def jpeg(seed: int, noise: int = 0) -> bytes:
    """A picture of large random blocks; the noise changes single pixels a little."""
    chance = np.random.default_rng(seed)
    blocks = chance.integers(0, 256, (8, 9, 3)).repeat(8, 0).repeat(8, 1)
    pixels = np.clip(blocks + np.random.default_rng(noise).integers(0, 3, blocks.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def names(folder: Path, suffix: str = ".jpg") -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix == suffix)


def test_snapshots_are_bounded_and_the_oldest_go(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "snapshots"
    folder.mkdir(parents=True)
    (folder / "mine.jpg").write_bytes(b"x" * 5000)
    (folder / "19990101T000000.000Z-000001-link.jpg").symlink_to(folder / "mine.jpg")
    sink = SnapshotSink(str(folder), 1000)
    for number in range(1, 6):
        sink.send(number, event_of("../open", at=1764172800.25 + number, picture=bytes(300)))
    sink.send(6, event_of("open"))  # no picture
    kept = [f"20251126T16000{number}.250Z-00000{number}-_open.jpg" for number in (3, 4, 5)]
    assert names(folder) == ["19990101T000000.000Z-000001-link.jpg", *kept, "mine.jpg"]
    again = SnapshotSink(str(folder), 700)
    again.send(5, event_of("../open", at=1764172800.25 + 5, picture=bytes(300)))  # told twice
    assert names(folder)[1:-1] == kept[1:]
    again.send(6, event_of("a", at=1764172800.25 + 6, picture=bytes(300)))
    assert len(names(folder)) == 4


def test_a_snapshot_replaces_a_link_and_does_not_follow_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("untouched")
    folder = tmp_path / "snapshots"
    folder.mkdir()
    event = event_of("open", picture=b"picture")
    (folder / f"{file_stem(event, '000001')}.jpg").symlink_to(secret)
    (folder / ".pocketlens-writing").symlink_to(secret)
    SnapshotSink(str(folder), 1000).send(1, event)
    assert secret.read_text() == "untouched"
    (path,) = folder.iterdir()
    assert not path.is_symlink()
    assert path.read_bytes() == b"picture"


def test_a_full_disk_is_one_line_and_leaves_no_half_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sink = SnapshotSink(str(tmp_path / "snapshots"), 10**6)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError) as caught:
            sink.send(1, event_of("open", picture=b"picture"))
    assert str(caught.value) == (
        f"{tmp_path}/snapshots: pictures cannot be kept there: No space left on device; make room or give access "
        "there, or name another folder"
    )
    assert caught.value.attempts is None
    assert [*(tmp_path / "snapshots").iterdir()] == []
    sink.send(1, event_of("open", picture=b"picture"))
    assert len(names(tmp_path / "snapshots")) == 1


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file: pictures cannot be kept there: "):
        SnapshotSink(str(tmp_path / "file"), 1000).send(1, event_of("open", picture=b"picture"))


def test_a_picture_larger_than_all_may_be(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="has 300 bytes, and all of them may have 200; raise `keep`"):
        SnapshotSink(str(tmp_path), 200).send(1, event_of("open", picture=bytes(300)))


def test_a_command_gets_label_score_and_picture(tmp_path: Path) -> None:
    script = tmp_path / "record.py"
    script.write_text(
        "import sys; from pathlib import Path\n"
        "data = Path(sys.argv[4]).read_bytes() if sys.argv[4] else None\n"
        "open(sys.argv[1], 'a').write(repr((sys.argv[2:4], data)) + chr(10))\n"
    )
    sink = CommandSink(f"{sys.executable} {script} {tmp_path}/record {{label}} {{score}} {{path}}")
    with Outputs([sink]) as outputs:
        assert outputs.takes_pictures
        outputs.tell(event_of("open; touch x", picture=b"picture"))
        outputs.tell(event_of("closed"))
        wait_until(lambda: outputs.counts["command"].told == 2)
    lines = (tmp_path / "record").read_text().splitlines()
    assert lines == ["(['open; touch x', '0.750000'], b'picture')", "(['closed', '0.750000'], None)"]


def test_a_command_that_fails_is_run_again_and_given_up(tmp_path: Path) -> None:
    sink = CommandSink("sh -c 'echo x >> \"$1\"; exit 3' _ " + str(tmp_path / "runs"), retries=2)
    sink.pauses = (0.001, 0.001)
    with Outputs([sink]) as outputs:
        outputs.tell(event_of("open"))
        wait_until(lambda: outputs.counts["command"].failed == 1)
    assert (tmp_path / "runs").read_text() == "x\n" * 3
    with pytest.raises(OutputError, match=r"^door: open: the command sh ended with status 3$") as caught:
        sink.send(1, event_of("open"))
    assert caught.value.attempts == 3


def scored(index: int, margin: float, picture: bytes) -> Event:
    event = event_of("open", at=1764172800.0 + index, picture=picture)
    return event._replace(scores={"open": (1 + margin) / 2, "closed": (1 - margin) / 2})


def read_sidecar(path: Path) -> dict[str, object] | None:
    try:
        return dict(json.loads(path.read_text()))
    except ValueError:
        return None


def recorded(folder: Path, events: list[Event], **options: int) -> list[dict[str, object]]:
    """The sidecars in a folder after these events."""
    recorder = UncertainFrames(str(folder), chance=random.Random(0), model="ab" * 32, **options)
    for event in events:
        recorder.see(event, None)
        wait_until(recorder._waiting.empty)
    recorder.close(20)
    return [document for path in sorted(folder.glob("*.json")) if (document := read_sidecar(path))]


def test_the_least_sure_frames_stay_and_a_random_share(tmp_path: Path) -> None:
    margins = [index / 200 for index in range(200)]
    random.Random(1).shuffle(margins)
    events = [scored(index, margin, jpeg(index)) for index, margin in enumerate(margins)]
    kept = recorded(tmp_path, events, frames=20)
    by_kind = {kind: [one for one in kept if one["kind"] == kind] for kind in ("uncertain", "random")}
    assert {kind: len(ones) for kind, ones in by_kind.items()} == {"uncertain": 16, "random": 4}
    assert max(float(str(one["margin"])) for one in by_kind["uncertain"]) < 0.12
    assert max(float(str(one["margin"])) for one in by_kind["random"]) > 0.2, "they are no sample of all frames"
    assert {path.stem for path in tmp_path.glob("*.jpg")} == {path.stem for path in tmp_path.glob("*.json")}
    assert kept[0].keys() == {*event_of("open").as_dict(), *("kind", "key", "margin", "fingerprint", "model", "device")}
    assert (kept[0]["model"], kept[0]["device"]) == ("ab" * 32, socket.gethostname())
    first = next(iter(sorted(tmp_path.glob("*.jpg"))))
    assert first.read_bytes() in {event.picture for event in events}


def test_a_restart_goes_on_with_the_choice(tmp_path: Path) -> None:
    events = [scored(index, 0.5 - index / 1000, jpeg(index)) for index in range(60)]
    recorded(tmp_path, events[:30], frames=10)
    garbage = tmp_path / "19990101T000000.000Z-uncertain-0000-x.json"
    garbage.write_text("garbage")
    assert len(list(tmp_path.glob("*-uncertain-*.json"))) == 9
    kept = recorded(tmp_path, events[30:], frames=10)
    unsure = sorted(float(str(one["margin"])) for one in kept if one["kind"] == "uncertain")
    assert len(unsure) == 8
    assert unsure[-1] < 0.5 - 30 / 1000, "a frame of the first start was surer than one that went"
    assert garbage.exists()


def test_frames_that_are_taken_out_make_room(tmp_path: Path) -> None:
    recorded(tmp_path, [scored(index, 0.1, jpeg(index)) for index in range(20)], frames=5)
    for path in tmp_path.iterdir():
        path.unlink()
    kept = recorded(tmp_path, [scored(index, 0.9, jpeg(index)) for index in range(50, 70)], frames=5)
    assert len(kept) == 5


def test_frames_are_bounded_in_bytes(tmp_path: Path) -> None:
    size = 60_000
    recorded(tmp_path, [scored(index, 0.5, jpeg(index)) for index in range(60)], size=size)
    total = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size / 2 < total <= size


def test_near_copies_are_left_out_and_not_looked_for_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    def counted(data: bytes) -> int:
        looked.append(1)
        return fingerprint_of(data)

    monkeypatch.setattr(uncertain, "fingerprint_of", counted)
    kept = recorded(tmp_path, [scored(index, 0.1, jpeg(1, noise=index)) for index in range(100)], frames=50)
    assert len(kept) == 1
    assert len(looked) < 50, "an idle scene costs a decoding for each frame"


def test_a_frame_that_cannot_be_kept_costs_no_picture(tmp_path: Path) -> None:
    recorder = UncertainFrames(str(tmp_path), frames=2, chance=random.Random(0))
    for index in range(20):
        recorder.see(scored(index, 0.0, jpeg(index)), None)
        wait_until(recorder._waiting.empty)
    wait_until(lambda: all(shelf.bound < 0.5 for shelf in recorder._shelves.values()))
    asked: list[int] = []

    def picture() -> bytes:
        asked.append(1)
        return jpeg(999)

    for index in range(100):
        recorder.see(scored(index, 0.9, b"")._replace(picture=None), picture)
    recorder.close(20)
    assert len(asked) < 50


def test_margins_and_fingerprints() -> None:
    assert margin_of({}) == 0.0
    assert margin_of({"a": 0.25}) == 0.25
    assert margin_of({"a": 0.25, "b": 0.75}) == 0.5
    same = fingerprint_of(jpeg(1)) ^ fingerprint_of(jpeg(1, noise=5))
    other = fingerprint_of(jpeg(1)) ^ fingerprint_of(jpeg(2))
    assert same.bit_count() <= 6 < other.bit_count()
