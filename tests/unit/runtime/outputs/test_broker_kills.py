"""A broker that is killed again and again, and a telling process that is killed too: no change is lost.

What mosquitto has acknowledged it keeps over SIGTERM. SIGKILL costs it what it has acknowledged and neither saved nor
brought to the subscriber, and no publisher can know of that. So half of the broker's kills are SIGTERM while changes
flow. The others are SIGKILL while the telling process is stopped, at any moment of its work, and the messages that it
has sent have come through.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.support.broker import Broker, Subscriber, running_broker
from tests.support.outputs import wait_until

pytest.importorskip("paho.mqtt.client")  # an extra, which a device may lack

ROOT = Path(__file__).parents[4]
#: Tells one change after the other; a change counts as told once `tell` has returned, and its number is in a file.
DEVICE = """
import os, sys, time
from pathlib import Path
from runtime.outputs.event import Event
from runtime.outputs.mqtt import MqttSink
from runtime.outputs.outputs import Outputs

url, state, progress, changes, pause = sys.argv[1:]
sink = MqttSink(url, ["a", "b"])
sink.pauses = (0.05, 0.5)
done = os.open(progress, os.O_RDWR | os.O_CREAT | os.O_APPEND)
first = len(os.read(done, 10**6))
with Outputs([sink], log_file=Path(state, "events.sqlite")) as outputs:
    for index in range(first, int(changes)):
        outputs.tell(Event(time.time(), "door", str(index), 0.9, time.time(), 1, None, {}))
        os.write(done, b".")
        time.sleep(float(pause))
    while outputs.counts[sink.name].waiting:
        time.sleep(0.01)
"""


def told(progress: Path, changes: float) -> bool:
    return progress.stat().st_size >= changes


def kill_broker(broker: Broker, device: subprocess.Popen[bytes], subscriber: Subscriber, number: int) -> None:
    if number == signal.SIGKILL:
        device.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
        subscriber.wait_until_connected(f"stopped at {len(subscriber.lines)}")
        time.sleep(0.2)
    broker.kill(number)
    device.send_signal(signal.SIGCONT)


def check_that_nothing_is_lost(folder: Path, changes: int, broker_kills: int, device_kills: int) -> None:
    """Kill the broker and the telling process at random moments while changes happen; compare what a subscriber got."""
    chance = random.Random(0)
    kills = ["broker"] * broker_kills + ["device"] * device_kills
    chance.shuffle(kills)
    progress = folder / "progress"
    progress.touch()
    with running_broker(folder / "broker") as broker:
        arguments = [f"{broker.url}/door", str(folder / "state"), str(progress), str(changes), "0.004"]

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen([sys.executable, "-c", DEVICE, *arguments], cwd=ROOT)

        subscriber = Subscriber(broker, "door")
        device = start()
        for number, victim in enumerate(kills, 1):
            subscriber.wait_until_connected(f"kill {number}")
            wait_until(partial(told, progress, changes * number / (len(kills) + 1)), 60)
            time.sleep(chance.random() / 20)
            if victim == "broker":
                kill_broker(broker, device, subscriber, signal.SIGTERM if number % 2 else signal.SIGKILL)
                time.sleep(chance.random() / 5)
                broker.start()
            else:
                device.kill()
                device.wait()
                device = start()
        assert device.wait(120) == 0
        wait_until(lambda: json.loads(subscriber.of("door")[-1])["label"] == str(changes - 1), 30)
        retained = json.loads(broker.retained("door") or b"{}")
        subscriber.stop()
    labels = [int(json.loads(line)["label"]) for line in subscriber.of("door")]
    assert list(dict.fromkeys(labels)) == list(range(changes)), "lost, or out of order"
    assert retained["label"] == str(changes - 1), "a stale state is retained"


def test_no_change_is_lost_when_broker_and_device_are_killed(tmp_path: Path) -> None:
    check_that_nothing_is_lost(tmp_path, changes=300, broker_kills=2, device_kills=2)


@pytest.mark.slow
def test_no_change_of_2000_is_lost_in_ten_kills_of_the_broker_and_five_of_the_device(tmp_path: Path) -> None:
    check_that_nothing_is_lost(tmp_path, changes=2000, broker_kills=10, device_kills=5)
