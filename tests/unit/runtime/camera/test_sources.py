"""Sources: commands that end, servers that misbehave, cameras that are unplugged, and pictures in a folder."""

from __future__ import annotations

import base64
import errno
import io
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from runtime import fake_cameras
from runtime.camera import frames, reader
from runtime.camera.byte_sources import (
    PASSWORD_VARIABLE,
    USER_VARIABLE,
    Address,
    CommandSource,
    StandardInput,
    raspberry_pi_command,
)
from runtime.camera.device_sources import VideoDevice, without_padding
from runtime.camera.frame import Frame, Region
from runtime.camera.reader import FrameReader, open_source
from runtime.camera.splitting import RawFormat
from runtime.errors import CameraError
from runtime.images import Pixels
from runtime.testing import FakeCamera
from tests.support.frames import JPEGS, jpeg

pytestmark = pytest.mark.fast

PYTHON = sys.executable


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_FIRST_PAUSE_S", 0.01)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mjpeg"
    path.write_bytes(b"".join(JPEGS))
    return path


def taken(reader: FrameReader, count: int, timeout: float = 20.0) -> list[Frame]:
    """So many frames, or those up to the end."""
    found: list[Frame] = []
    end = time.monotonic() + timeout
    while len(found) < count and not reader.ended:
        assert time.monotonic() < end
        frame = reader.take(0.5)
        if frame is not None:
            found.append(frame)
    return found


@contextmanager
def server(answer: Callable[[socket.socket, bytes], object]) -> Iterator[str]:
    """A server that lets `answer` write whatever it likes; each connection in turn."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                request = b""
                try:
                    while b"\r\n\r\n" not in request:
                        request += connection.recv(4096)
                    answer(connection, request)
                except OSError:
                    pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/stream?size=vga"
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"


def part(image: bytes) -> bytes:
    return b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(image), image)


def test_a_command_is_started_again_when_it_ends(clip: Path, messages: list[str]) -> None:
    with FrameReader(CommandSource(f"cat {clip}"), keep_all=True) as reader:
        found = taken(reader, 10)
    assert [frame.image for frame in found] == [*JPEGS, *JPEGS, *JPEGS][:10]
    assert [frame.number for frame in found] == list(range(1, 11))
    assert {frame.source for frame in found} == {"cat"}
    assert any("cat: the command ended with status 0; tried again in" in line for line in messages)


def test_a_command_that_ends_at_once_is_named_with_growing_pauses(messages: list[str]) -> None:
    with FrameReader(CommandSource(f"{PYTHON} -c 'raise SystemExit(7)'")):
        deadline = time.monotonic() + 20
        while len(messages) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert [line.partition("tried again in ")[2] for line in messages[:3]] == ["0.01 s", "0.02 s", "0.04 s"]
    assert "ended with status 7" in messages[0]


def test_a_command_ends_with_its_children(tmp_path: Path) -> None:
    code = f"import subprocess,sys;p=subprocess.Popen(['sleep','600']);open('{tmp_path}/pid','w').write(str(p.pid));"
    command = (
        f"{PYTHON} -c \"{code}sys.stdout.buffer.write(bytes.fromhex('{JPEGS[0].hex()}'));sys.stdout.flush();p.wait()\""
    )
    with FrameReader(CommandSource(command)) as reader:
        assert len(taken(reader, 1)) == 1
    child = int((tmp_path / "pid").read_text())
    end = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_command_without_frames_is_started_again(messages: list[str]) -> None:
    with FrameReader(CommandSource("sleep 600", silence=0.1)) as reader:
        deadline = time.monotonic() + 20
        while not messages:
            assert time.monotonic() < deadline
            reader.take(0.05)
    assert "sleep: no frame for 0.1 s" in messages[0]


def test_it_does_not_run_a_shell(tmp_path: Path) -> None:
    source = CommandSource(f"echo $(touch {tmp_path}/injected) ; touch {tmp_path}/too")
    with FrameReader(source) as reader:
        reader.take(0.2)
    assert list(tmp_path.iterdir()) == []


def test_an_address_with_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[bytes] = []

    def answer(connection: socket.socket, request: bytes) -> None:
        requests.append(request)
        connection.sendall(HEAD + b"".join(map(part, JPEGS)))

    monkeypatch.setenv(USER_VARIABLE, "me")
    monkeypatch.setenv(PASSWORD_VARIABLE, "s3cret:ü")
    with server(answer) as url, FrameReader(Address(url), keep_all=True) as reader:
        found = taken(reader, 6)
    assert [frame.image for frame in found] == [*JPEGS, *JPEGS][:6]
    assert found[0].source == url.partition("?")[0], "what stands behind the question mark may be a secret"
    assert requests[0].startswith(b"GET /stream?size=vga HTTP/1.1\r\n")
    assert b"Authorization: Basic " + base64.b64encode("me:s3cret:ü".encode()) in requests[0]


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", f"set ${USER_VARIABLE}"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "answers 404 Not Found"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n", "name the new address http://x/"),
        (b"SSH-2.0-OpenSSH\r\n", "no answer of HTTP"),
        (HEAD + part(JPEGS[0])[:200], "the stream ended"),
        (HEAD + b"--frame\r\n" * 1000, "the stream ended"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n", "no answer of HTTP"),
        (b"", "no answer of HTTP"),
    ],
)
def test_a_server_that_misbehaves_is_tried_again(sent: bytes, problem: str, messages: list[str]) -> None:
    answers = [sent]

    def answer(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(answers.pop() if answers else HEAD + part(JPEGS[1]))

    with server(answer) as url, FrameReader(Address(url), keep_all=True) as reader:
        assert [frame.image for frame in taken(reader, 1)] == [JPEGS[1]]
    assert problem in messages[0]
    assert "the source gives frames again" in messages


def test_waiting_for_a_silent_server_is_ended_at_once() -> None:
    entered, done = threading.Event(), threading.Event()

    def answer(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(HEAD)
        entered.set()
        done.wait(10)

    with server(answer) as url:
        reader = FrameReader(Address(url))
        with reader:
            assert entered.wait(10)
        assert reader._thread is not None
        assert not reader._thread.is_alive(), "it would wait for a minute"
        done.set()


def test_standard_input_ends_at_its_end(clip: Path) -> None:
    handle = os.open(clip, os.O_RDONLY)
    try:
        source = StandardInput(handle=handle)
        assert source.is_recorded
        assert [frame.image for frame in frames(source)] == JPEGS
    finally:
        os.close(handle)


def test_a_pipe_gives_the_newest_frame_only() -> None:
    read, write = os.pipe()
    try:
        source = StandardInput(handle=read)
        assert not source.is_recorded
        with FrameReader(source) as reader:
            for image in JPEGS:
                os.write(write, image)
            deadline = time.monotonic() + 20
            while reader.read < len(JPEGS):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            frame = reader.take(1)
            assert frame is not None
            assert (frame.image, frame.number) == (JPEGS[-1], len(JPEGS))
            assert reader.dropped == len(JPEGS) - 1
            assert reader.take(0.01) is None
            os.close(write)
            while not reader.ended:
                reader.take(0.1)
    finally:
        os.close(read)


def test_a_folder_gives_its_pictures_in_order(tmp_path: Path) -> None:
    for number, name in enumerate(("b.jpg", "a.png", ".hidden.jpg", "notes.txt")):
        (tmp_path / name).write_bytes(jpeg(number))
    found = list(frames(str(tmp_path)))
    assert [Path(frame.source).name for frame in found] == ["a.png", "b.jpg"]
    assert [frame.source for frame in frames(f"{tmp_path}/*.jpg")] == [str(tmp_path / "b.jpg")]


def test_a_picture_that_cannot_be_read_is_passed_over(tmp_path: Path, messages: list[str]) -> None:
    (tmp_path / "b.jpg").write_bytes(JPEGS[0])
    (tmp_path / "a.jpg").mkdir()
    assert [frame.image for frame in frames(str(tmp_path))] == [JPEGS[0]]
    assert messages == [f"warning: {tmp_path}/a.jpg: not a regular file; folders, pipes and devices are not read"]


def test_a_camera_that_is_unplugged_is_opened_again(messages: list[str]) -> None:
    camera = FakeCamera(JPEGS, fails_after=[2])
    with camera.installed(), FrameReader(open_source("/dev/video0"), keep_all=True) as reader:
        found = taken(reader, 4)
    assert [frame.image for frame in found] == JPEGS
    assert camera.starts == 3 or camera.starts == 2
    assert "/dev/video0: the camera is gone; is it plugged in?" in messages[0]
    assert "the source gives frames again" in messages


def test_pictures_of_another_format_from_a_video_device() -> None:
    camera = FakeCamera([np.full((48, 64, 3), (200, 100, 50), np.uint8)])
    with camera.installed():
        frame = next(frames("/dev/video0", size=(64, 48)))
    picture = Image.open(io.BytesIO(frame.jpeg()))
    assert picture.size == (64, 48)


@pytest.mark.parametrize("size", [(64, 48), (100, 60)])
def test_picamera_gives_the_colours_of_the_scene(size: tuple[int, int]) -> None:
    """Also where its rows are longer than the picture is wide."""
    scene = np.zeros((60, 100, 3), np.uint8)
    scene[:, :50], scene[:, 50:] = (220, 30, 40), (20, 60, 230)
    with FakeCamera([scene]).installed():
        frame = next(frames("picamera", size=size))
    assert (frame.layout, frame.image.shape) == ("yuv420", (size[1] * 3 // 2, size[0]))  # type: ignore[union-attr]
    array = np.asarray(Image.open(io.BytesIO(frame.jpeg())).convert("RGB")).astype(int)
    assert np.abs(array[5:-5, 5 : size[0] // 2 - 5] - (220, 30, 40)).mean() < 6
    assert np.abs(array[5:-5, size[0] // 2 + 5 : -5] - (20, 60, 230)).mean() < 6


def test_a_picamera_that_hangs_is_started_again(messages: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, works = [True], fake_cameras._Picamera2.wait

    def wait(self: fake_cameras._Picamera2, job: object, timeout: float | None = None) -> Pixels:
        if hangs:
            hangs.pop()
            time.sleep(0.01)
            raise futures.TimeoutError
        return works(self, job, timeout)

    monkeypatch.setattr(fake_cameras._Picamera2, "wait", wait)
    with FakeCamera(JPEGS).installed():
        frame = next(frames("picamera", silence=0.005))
    assert frame.number == 1
    assert "picamera: no frame for 0.005 s" in messages[0]


def test_rows_of_yuyv_become_planes() -> None:
    device = VideoDevice("/dev/video9", (4, 2))
    row = bytes([16, 128, 235, 128, 16, 90, 235, 240]) + b"\xee" * 4  # two pairs of pixels, and padding
    found = SimpleNamespace(width=4, height=2, bytes_per_line=12)
    picture = device._picture(row * 2, "YUYV", found)
    assert picture is not None
    expected, _ = RawFormat(4, 2, "yuv420").picture(bytes([16, 235, 16, 235] * 2 + [128, 90] + [128, 240]))
    np.testing.assert_array_equal(picture[0], expected)
    assert device._picture(row, "YUYV", found) is None
    assert device.damaged == 1


def test_padding_below_and_behind_the_rows_goes() -> None:
    padded = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)
    plain = without_padding(padded, 10, 6)
    assert plain.shape == (9, 10)
    np.testing.assert_array_equal(plain[:6], padded[:6, :10])


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((), ValueError, "either a source or a command"),
        (("nowhere",), CameraError, "no such folder or picture"),
        (("http://me:pw@cam/",), ValueError, "seen by others"),
        (("http://",), ValueError, "is no address"),
        (("http://cam:x/",), ValueError, "Port|port"),
    ],
)
def test_names_that_give_no_frames(arguments: tuple[str, ...], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        open_source(*arguments)


def test_a_device_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "linuxpy.video.device", None)
    with pytest.raises(CameraError, match=r"needs linuxpy; pip install 'pocketlens\[camera\]'"):
        open_source("/dev/video0")


def test_a_device_that_is_not_there_is_tried_again(messages: list[str]) -> None:
    pytest.importorskip("linuxpy")
    with FrameReader(open_source("/dev/video99")):
        deadline = time.monotonic() + 20
        while len(messages) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert "/dev/video99: no such device; " in messages[0]


def test_a_camera_in_use_is_named(messages: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    camera = FakeCamera(JPEGS, fails_after=[0])
    monkeypatch.setattr("errno.ENODEV", errno.EBUSY)
    with camera.installed(), FrameReader(open_source("/dev/video0")) as reader:
        taken(reader, 1)
    assert "/dev/video0: the camera is in use" in messages[0]


def test_raw_frames_of_a_camera_are_refused() -> None:
    with FakeCamera(JPEGS).installed(), pytest.raises(ValueError, match="`raw` is for"):
        open_source("/dev/video0", raw="64x48:grey")


def test_the_command_of_a_raspberry_pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CameraError, match="neither rpicam-vid nor libcamera-vid"):
        raspberry_pi_command((640, 480))
    for name in ("libcamera-vid", "rpicam-vid"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
        assert raspberry_pi_command((640, 480)).startswith(f"{name} --timeout 0 --nopreview --codec mjpeg --width 640")


@pytest.mark.parametrize("text", ["0.5,0.5,0.5,0.5", "0,0,1,1"])
def test_regions_of_a_jpeg_and_of_its_array_are_the_same(text: str) -> None:
    data = jpeg(5, (64, 64), quality=100, subsampling=0)
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    region = Region.parse(text)
    part, _ = Frame(data, None, 0, 0, "", 1).part(region, (64, 64))
    array, _ = Frame(pixels, None, 0, 0, "", 1).part(region, (64, 64))
    np.testing.assert_array_equal(np.asarray(part), array)


def test_a_region_of_planes() -> None:
    array = np.arange(6 * 4, dtype=np.uint8).reshape(6, 4)
    cut, layout = Frame(array, "yuv420", 0, 0, "", 1).part(Region(0.5, 0.5, 0.5, 0.5), (1, 1))
    assert layout == "yuv420"
    assert cut.tolist() == [[10, 11], [14, 15], [19, 23]]


@pytest.mark.parametrize("text", ["0,0,2,1", "a,b,c,d", "0,0,1", "nan,0,1,1", "0,0,0,1", "-0.1,0,1,1"])
def test_regions_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="region"):
        Region.parse(text)


def test_many_frames_of_a_fake_camera() -> None:
    found = list(islice(frames(FakeCamera(JPEGS, rounds=50)), 150))
    assert [frame.number for frame in found] == list(range(1, 151))
