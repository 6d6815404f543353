"""`live`, `watch` and `serve` as processes, while an update replaces their model: nothing is lost or comes twice."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("uvicorn")  # an extra

from runtime.deployment.health import read_health
from runtime.deployment.state import Probation
from tests.support.serving import ServeProcess
from tests.support.slots import blind_weights, filled_slot, picture, put, release_of, slot_model, until
from tests.support.watching import Running

#: They give a white picture different labels.
OLD, NEW = slot_model(1), slot_model(2, weights=blind_weights())
BEFORE, AFTER = "light", "dark"


def white_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 255).save(buffer, "JPEG")
    return buffer.getvalue()


def is_one_change(labels: list[str]) -> bool:
    """Whether each model has answered, the old one first."""
    return [label for label, _ in itertools.groupby(labels)] == [BEFORE, AFTER]


class _Fed:
    """`live` on a stream of frames that another thread writes."""

    def __init__(self, model: Path, log: Path) -> None:
        words = ("--model", model, "--tell", "every", "--all-frames", "--statistics", "0s", "--json", "-")
        self.log, self.sent = log, 0
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "runtime.cli.main", "live", *map(str, words)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.DEVNULL,
            )

    def feed(self, stopped: threading.Event) -> None:
        assert self.process.stdin is not None
        frame = white_jpeg()
        while not stopped.wait(0.02):
            self.process.stdin.write(frame)
            self.process.stdin.flush()
            self.sent += 1
        self.process.stdin.close()

    def labels(self) -> list[str]:
        text = self.log.read_text().rpartition("\n")[0]
        return [json.loads(line)["label"] for line in text.splitlines()]


def test_no_frame_file_or_request_is_lost_while_the_model_is_replaced(tmp_path: Path) -> None:
    incoming, stopped = tmp_path / "incoming", threading.Event()
    incoming.mkdir()
    answered: list[str] = []
    dropped: list[str] = []
    with filled_slot(tmp_path / "door", OLD) as slot:
        quick = ("--interval", 0.05, "--settle", 0, "--json")
        live = _Fed(slot.model, tmp_path / "live.jsonl")
        watch = Running(tmp_path / "watch.jsonl", "--model", slot.model, *quick, incoming)
        with ServeProcess("--model", slot.model) as serve, ThreadPoolExecutor(4) as pool:
            server = serve.served

            def drop() -> None:
                while not stopped.wait(0.05):
                    dropped.append(f"{len(dropped)}.png")
                    picture(tmp_path / "beside.png", 255).rename(incoming / dropped[-1])

            def ask() -> None:
                while not stopped.is_set():
                    reply = server.ask("/v1/classify", white_jpeg())
                    assert reply.status == 200
                    answered.append(reply.value["predictions"][0]["label"])

            work = [pool.submit(live.feed, stopped), pool.submit(drop), pool.submit(ask), pool.submit(ask)]
            try:
                until(lambda: answered and watch.lines() and live.labels())
                put(slot, NEW, 2, probation=60.0)
                until(lambda: AFTER in answered and AFTER in live.labels())
                until(lambda: watch.lines()[-1]["predictions"][0]["label"] == AFTER)
                model = server.ask("/v1/model").value
            finally:
                stopped.set()
                live.process.wait(60)
            for each in work:
                each.result()
            assert serve.stop()[0] == 0
        watch.lines(len(dropped))
        assert watch.stop() == 0
        health = [*read_health(slot.health)]

    assert model["sha256"] == release_of(NEW, 2).sha256
    assert live.process.returncode == 0
    assert len(live.labels()) == live.sent
    assert is_one_change(live.labels())
    lines = watch.lines()
    paths = Counter(line["path"] for line in lines)
    assert len(paths) == len(lines) == len(dropped)
    assert is_one_change([line["predictions"][0]["label"] for line in lines])
    assert {*answered} == {BEFORE, AFTER}
    assert sorted(each.service.partition("-")[0] for each in health) == ["live", "serve", "watch"]
    for found in health:
        assert found.phase == "ended"
        assert found.models[release_of(NEW, 2).sha256].answers > 0
        assert found.models[release_of(NEW, 2).sha256].errors == 0


def test_a_service_that_keeps_dying_says_that_it_runs_the_model_before(tmp_path: Path) -> None:
    with filled_slot(tmp_path / "door", OLD, NEW) as slot:
        slot.write_state(slot.state._replace(probation=Probation.starting(600)))
        frame = tmp_path / "frame.jpg"
        frame.write_bytes(white_jpeg())
        words = [sys.executable, "-m", "runtime.cli.main", "live", "--model", str(slot.model), "--json", str(frame)]
        subprocess.run(words, check=True, capture_output=True)
        (health,) = read_health(slot.health)
        found = health.models[release_of(NEW, 2).sha256]
        dying = health._replace(phase="answering", models={release_of(NEW, 2).sha256: found._replace(deaths=2)})
        (slot.health / f"{health.service}.json").write_bytes(dying.to_json())
        done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert "died 3 times with this model on probation; it runs previous.tflite" in done.stderr
