"""Training on two devices and in two processes gives the result of one device."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.commands import run_pocketlens, succeed
from trainer.distributed.cluster import Cluster, is_chief, read_cluster, rendezvous
from trainer.distributed.strategy import Mirrored, Strategy, batch_share, make_strategy, unsynchronize
from trainer.errors import TrainingError

ROOT = Path(__file__).parents[4]

#: Batch normalization, and no dropout: it draws for each device.
CUSTOM_MODEL = """
import keras
from keras import layers

def build_model(input_shape, classes):
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(6, 3, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))
"""

#: The command, on two logical devices.
ON_TWO_DEVICES = """
import runtime.native_output
runtime.native_output.quiet_tensorflow()
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from runtime.cli.main import main
main()
"""


def options(folder: Path) -> tuple[str, ...]:
    file = folder / "mine.py"
    file.write_text(CUSTOM_MODEL)
    # 1,295 training images: the last batch of 100 is shared out unevenly.
    return (
        *("--dataset", "digits", "--model-file", str(file), "--batch-size", "100", "--epochs", "2"),
        *("--augment", "shift", "--label-smoothing", "0.1", "--balance"),
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one device; beside it the file with the network."""
    folder = tmp_path_factory.mktemp("alone")
    succeed(run_pocketlens("train", *options(folder), "--out", folder / "run"))
    return folder / "run"


def assert_same(run: Path, alone: Path, loss: float) -> None:
    """Within float tolerance; `loss` is that of the training losses told."""
    assert {path.name for path in run.iterdir()} == {path.name for path in alone.iterdir()}
    pairs = [
        (
            keras.saving.load_model(folder / "model.keras"),
            list(csv.DictReader((folder / "history.csv").read_text().splitlines())),
        )
        for folder in (run, alone)
    ]
    (model, rows), (expected, expected_rows) = pairs
    for one, two in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)
    assert [layer.get_config() for layer in model.layers] == [layer.get_config() for layer in expected.layers]
    for row, wanted in zip(rows, expected_rows, strict=True):
        assert float(row["loss"]) == pytest.approx(float(wanted["loss"]), rel=loss)
        assert float(row["val_loss"]) == pytest.approx(float(wanted["val_loss"]), rel=1e-4)
        assert row["learning_rate"] == wanted["learning_rate"]
    metrics, wanted_metrics = (json.loads((folder / "metrics.json").read_text()) for folder in (run, alone))
    assert metrics["settings"] == wanted_metrics["settings"]
    assert metrics["test"]["accuracy"] == pytest.approx(wanted_metrics["test"]["accuracy"], abs=0.006)
    for name in ("contract.json", "splits.json"):
        assert (run / name).read_bytes() == (alone / name).read_bytes()
    assert sorted(path.name for path in run.parent.iterdir() if path.name.startswith(".")) == []


def test_two_devices_give_what_one_gives(alone: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-c", ON_TWO_DEVICES, "train", *options(alone.parent), "--distribute", "mirrored"]
    done = subprocess.run([*command, "--out", out], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    succeed(done)
    assert_same(out, alone, loss=2e-3)  # the mean of the shares' losses, as Keras tells it


def free_ports() -> list[int]:
    with socket.socket() as one, socket.socket() as two:
        for listener in (one, two):
            listener.bind(("127.0.0.1", 0))
        return [one.getsockname()[1], two.getsockname()[1]]


def start_workers(*arguments: object, count: int = 2, **variables: str) -> list[subprocess.Popen[str]]:
    """The command on each of two workers, of which `count` are started."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports()]
    workers = []
    for index in range(count):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CONFIG": json.dumps(config), **variables}
        command = [
            sys.executable,
            "-u",
            "-m",
            "runtime.cli.main",
            "train",
            *map(str, arguments),
            "--distribute",
            "workers",
        ]
        workers.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    return workers


def most_threads(workers: list[subprocess.Popen[str]]) -> Callable[[], int]:
    """Counts the threads of the workers until they end, in a thread; the answer waits for that."""
    seen = [0]

    def count() -> None:
        while any(worker.poll() is None for worker in workers):
            for worker in workers:
                with contextlib.suppress(OSError):
                    seen.append(len(list(Path(f"/proc/{worker.pid}/task").iterdir())))
            time.sleep(0.2)

    counting = threading.Thread(target=count)
    counting.start()

    def answer() -> int:
        counting.join()
        return max(seen)

    return answer


def test_two_workers_give_what_one_machine_gives(alone: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    workers = start_workers(*options(alone.parent), "--out", out)
    most = most_threads(workers)
    answers = [worker.communicate(timeout=600) for worker in workers]
    assert most() < 200 + 30 * (os.cpu_count() or 1)  # a thread for each operation of a step would be 400 in 26 steps
    assert [worker.returncode for worker in workers] == [0, 0], answers
    assert "test accuracy" in answers[0][0]
    assert "worker 0 writes the run" in answers[1][1]
    assert_same(out, alone, loss=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_is_lost_ends_the_others_and_resume_goes_on(
    alone: Path, tmp_path: Path, how: signal.Signals
) -> None:
    out = tmp_path / "run"
    long = (*options(alone.parent), "--epochs", "400", "--patience", "0", "--out", out)
    chief, other = start_workers(*long)
    assert chief.stderr is not None
    seen = []
    for line in chief.stderr:
        seen.append(line)
        if line.startswith("epoch 1/400"):
            break
    other.send_signal(how)
    started = time.monotonic()
    _, rest = chief.communicate(timeout=400)
    other.kill()
    other.communicate(timeout=60)
    assert chief.returncode == 1, rest
    assert "error: another worker is gone" in rest
    assert "--resume" in rest
    assert time.monotonic() - started < 300
    assert not out.exists()
    assert (tmp_path / ".run.checkpoint.npz").is_file()


def test_a_worker_that_never_comes_is_waited_for_and_told(alone: Path, tmp_path: Path) -> None:
    arguments = (*options(alone.parent), "--out", tmp_path / "run")
    (chief,) = start_workers(*arguments, count=1, POCKETLENS_WORKERS_START_SECONDS="3")
    _, told = chief.communicate(timeout=300)
    assert chief.returncode == 1
    assert "did not come in 3 s" in told.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_strangers_are_not_counted_and_all_go_at_once() -> None:
    addresses = tuple(f"127.0.0.1:{port}" for port in free_ports())
    came: list[int] = []

    def come(index: int) -> None:
        rendezvous(Cluster(addresses, index), 20)
        came.append(index)

    chief = threading.Thread(target=come, args=(0,))
    chief.start()
    host, _, port = addresses[0].partition(":")
    for greeting in (b"GET / HTTP/1.0", b"pocketlens 7", b"pocketlens x"):
        for _ in range(100):
            try:
                with socket.create_connection((host, int(port)), timeout=5) as stranger:
                    stranger.sendall(greeting)
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
    assert came == []
    come(1)
    chief.join(timeout=20)
    assert sorted(came) == [0, 1]


def test_a_chief_that_is_not_there_and_a_port_that_is_taken_are_told() -> None:
    port, other = free_ports()
    cluster = Cluster((f"127.0.0.1:{port}", f"127.0.0.1:{other}"), 1)
    with pytest.raises(TrainingError, match=r"worker 0 .* did not let us begin"):
        rendezvous(cluster, 0.3)
    with socket.create_server(("", port)), pytest.raises(TrainingError, match=f"port {port} cannot be used"):
        rendezvous(Cluster(cluster.addresses, 0), 0.3)


@pytest.mark.slow
def test_workers_with_other_settings_are_told(alone: Path, tmp_path: Path) -> None:
    addresses = [f"127.0.0.1:{port}" for port in free_ports()]
    workers = []
    for index in range(2):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        arguments = ("train", *options(alone.parent), "--seed", str(index), "--distribute", "workers", "--out")
        workers.append(
            subprocess.Popen(
                [sys.executable, "-m", "runtime.cli.main", *arguments, str(tmp_path / f"run{index}")],
                env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CONFIG": json.dumps(config)},
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for worker in workers:
        _, told = worker.communicate(timeout=300)
        assert worker.returncode == 1
        assert "worker 1" in told
        assert "other settings, images or versions than worker 0" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rows", [1, 2, 5, 7])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_shares_of_a_batch_have_its_mean(rows: int, count: int) -> None:
    rng = np.random.default_rng(0)
    batch = tuple(
        tf.constant(values.astype(np.float32)) for values in (rng.random((rows, 4)), rng.random(rows), rng.random(rows))
    )
    losses = []
    for rank in range(count):
        pictures, targets, weights = batch_share(batch, rank, count)
        assert len(pictures) == len(targets) == len(weights) == max(1, len(range(rank, rows, count)))
        losses.append(np.mean(targets * weights))
    assert np.mean(losses) == pytest.approx(np.mean(batch[1] * batch[2]), rel=1e-5)


def test_one_device_alone_is_refused_and_no_distribution_is_plain() -> None:
    with pytest.raises(TrainingError, match="expected two GPUs or more"):
        make_strategy("mirrored")
    plain = make_strategy(None)
    assert type(plain) is Strategy
    assert plain.chief
    assert issubclass(Mirrored, Strategy)


def test_a_model_is_left_as_any_other() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(synchronized=True)])
    unsynchronize(model)
    assert not model.layers[0].synchronized


GOOD = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}


def test_a_cluster_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_cluster(json.dumps(GOOD)) == Cluster(("a:1", "b:2"), 1)
    monkeypatch.setenv("TF_CONFIG", json.dumps(GOOD))
    assert not is_chief("workers")
    assert is_chief("mirrored")
    assert is_chief(None)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "[]",
        "null",
        json.dumps(GOOD | {"task": {"type": "worker", "index": 2}}),
        json.dumps(GOOD | {"task": {"type": "worker", "index": "0"}}),
        json.dumps(GOOD | {"task": {"type": "ps", "index": 0}}),
        json.dumps(GOOD | {"cluster": {"worker": ["a:1"]}}),
        json.dumps(GOOD | {"cluster": {"worker": ["a", "b"]}}),
        json.dumps(GOOD | {"cluster": {"worker": ["a:1", "b:2"], "chief": ["c:3"]}}),
        json.dumps(GOOD | {"cluster": {"worker": 3}}),
    ],
)
def test_a_cluster_that_is_none_is_told(text: str | None) -> None:
    with pytest.raises(TrainingError, match="TF_CONFIG is"):
        read_cluster(text)
