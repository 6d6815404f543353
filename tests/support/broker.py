"""A real MQTT broker and a real subscriber: mosquitto and mosquitto_sub, on a free port of the loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


def needed_program(name: str, package: str) -> str:
    """The path of a program; without it the test is skipped with the name of its Debian package."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        pytest.skip(f"{name} is missing: apt install {package}")
    return found


def free_port() -> int:
    """A port of the loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """A mosquitto that can be killed and started again; it keeps sessions and retained messages on the disk.

    Args:
        folder: for its configuration and its data.
        settings: further lines of its configuration; by default everybody may publish.
    """

    def __init__(self, folder: Path, settings: str = "allow_anonymous true") -> None:
        self._program = needed_program("mosquitto", "mosquitto")
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "mosquitto.conf"
        self._file.write_text(
            f"listener {self.port} 127.0.0.1\npersistence true\npersistence_location {folder}/\n"
            f"autosave_on_changes true\nautosave_interval 1\nuser {os.environ.get('USER', 'root')}\n"
            f"max_queued_messages 0\n{settings}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._program, "-c", str(self._file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self._process.poll() is None, "mosquitto does not start"
                assert time.monotonic() < end
                time.sleep(0.01)

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None

    def retained(self, topic: str, seconds: float = 5) -> bytes | None:
        """The retained message of a topic; None if there is none."""
        program = needed_program("mosquitto_sub", "mosquitto-clients")
        command = [program, "-h", "127.0.0.1", "-p", str(self.port), "-t", topic, "-C", "1", "-W", f"{seconds:g}", "-N"]
        done = subprocess.run([*command, "--retained-only"], capture_output=True, check=False)
        return done.stdout or None


@contextmanager
def running_broker(folder: Path, settings: str = "allow_anonymous true") -> Iterator[Broker]:
    """A broker that runs until the end of the block."""
    broker = Broker(folder, settings)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


class Subscriber:
    """mosquitto_sub with a session that outlives its connection, to some topics.

    Attributes:
        lines: what has arrived so far: topic, whether it was retained (0 or 1), QoS and payload.
    """

    def __init__(self, broker: Broker, *topics: str) -> None:
        program = needed_program("mosquitto_sub", "mosquitto-clients")
        self._address = ["-h", "127.0.0.1", "-p", str(broker.port)]
        command = [program, *self._address, "-q", "1", "-c", "-i", "subscriber", "-F", "%t %r %q %p"]
        for topic in (*topics, "probe"):
            command += ["-t", topic]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.wait_until_connected("start")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))

    def of(self, topic: str) -> list[str]:
        """The payloads of a topic."""
        return [line.split(" ", 3)[3] for line in self.lines if line.startswith(f"{topic} ")]

    def wait_until_connected(self, token: str) -> None:
        """Wait until a message that is published now arrives."""
        publish = [needed_program("mosquitto_pub", "mosquitto-clients"), *self._address, "-t", "probe", "-m", token]
        end = time.monotonic() + 60
        while token not in self.of("probe"):
            assert time.monotonic() < end, "the subscriber does not come back"
            subprocess.run(publish, check=True)
            time.sleep(0.05)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)
        self._thread.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
