from __future__ import annotations

import gzip
import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.support.commands import run_pocketlens
from trainer.data import Geometry, load_dataset
from trainer.data.loaders import fashion_mnist
from trainer.data.loaders.fashion_mnist import parse_idx, read_idx
from trainer.errors import DatasetError

REAL = os.environ.get(fashion_mnist.DIRECTORY_VARIABLE)


def idx(array: npt.NDArray[Any]) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, bytes]:
    """Four small files in place of the publisher's, expected by the loader; nothing in the environment or cache."""
    rng = np.random.default_rng(0)
    arrays = {
        "_TRAIN_IMAGES": rng.integers(0, 256, (40, 28, 28), dtype=np.uint8),
        "_TRAIN_LABELS": np.arange(40, dtype=np.uint8) % 10,
        "_TEST_IMAGES": rng.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        "_TEST_LABELS": np.arange(20, dtype=np.uint8) % 10,
    }
    compressed, files = {}, []
    for constant, array in arrays.items():
        content = idx(array)
        name = getattr(fashion_mnist, constant).name
        file = fashion_mnist._File(name, len(content), hashlib.sha256(content).hexdigest())
        monkeypatch.setattr(fashion_mnist, constant, file)
        files.append(file)
        compressed[name] = gzip.compress(content)
    monkeypatch.setattr(fashion_mnist, "FILES", tuple(files))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv(fashion_mnist.DIRECTORY_VARIABLE, raising=False)
    return compressed


def put(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


class Server:
    """Serves files on loopback; `cut` sends half of what it announces."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.cut, self.requests = files, False, 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                content = outer.files.get(self.path.rpartition("/")[2])
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if outer.cut else content)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/data"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(little: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server(dict(little))
    monkeypatch.setenv(fashion_mnist.URL_VARIABLE, server.url)
    yield server
    server.close()


def cached(tmp_path: Path) -> list[str]:
    folder = tmp_path / "keras/datasets/fashion-mnist"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_the_publishers_test_set_is_the_test_split(little: dict[str, bytes], tmp_path: Path) -> None:
    data = load_dataset("fashion-mnist", Geometry(), put(tmp_path / "data", little))
    assert data.given["train"].tolist() == list(range(40))
    assert data.given["test"].tolist() == list(range(40, 60))
    assert data.pixels.shape == (60, 28, 28, 1)
    assert data.labels[9] == "Ankle boot"


def test_where_it_looks_and_in_what_order(
    little: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = put(tmp_path / "keras/datasets/fashion-mnist", little)
    assert fashion_mnist.find_fashion_mnist(None) == cache
    named = put(tmp_path / "named", little)
    monkeypatch.setenv(fashion_mnist.DIRECTORY_VARIABLE, str(named))
    assert fashion_mnist.find_fashion_mnist(None) == named
    given = put(tmp_path / "given", little)
    assert fashion_mnist.find_fashion_mnist(given) == given


def test_a_given_folder_without_the_files_is_refused(
    little: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    named = put(tmp_path / "named", little)
    monkeypatch.setenv(fashion_mnist.DIRECTORY_VARIABLE, str(named))
    given = put(tmp_path / "given", little)
    (given / fashion_mnist.FILES[2].name).unlink()
    for folder, lacking in ((tmp_path / "none", fashion_mnist.FILES[0]), (given, fashion_mnist.FILES[2])):
        with pytest.raises(DatasetError, match=rf"`data_dir` {folder}: no {lacking.name} there; name the folder"):
            fashion_mnist.find_fashion_mnist(folder)
    cache = put(tmp_path / "keras/datasets/fashion-mnist", little)
    monkeypatch.setenv(fashion_mnist.DIRECTORY_VARIABLE, str(tmp_path / "none"))
    with caplog.at_level("INFO"):
        assert fashion_mnist.find_fashion_mnist(None) == cache
    assert "$FASHION_MNIST_DIR: no train-images" in caplog.text


def test_files_compressed_anew_pass_and_damaged_ones_do_not(little: dict[str, bytes], tmp_path: Path) -> None:
    name = fashion_mnist.FILES[0].name
    anew = {**little, name: gzip.compress(gzip.decompress(little[name]), compresslevel=1, mtime=5)}
    assert anew[name] != little[name]
    fashion_mnist.load_fashion_mnist(Geometry(), put(tmp_path / "anew", anew))
    content = bytearray(gzip.decompress(little[name]))
    content[500] ^= 1
    for damage, reason in (
        (gzip.compress(bytes(content)), "SHA-256"),
        (little[name][:-100], "decompressed"),
        (b"no gzip", "decompressed"),
        (gzip.compress(bytes(10**8)), "SHA-256"),
    ):
        with pytest.raises(DatasetError, match=reason) as caught:
            fashion_mnist.load_fashion_mnist(Geometry(), put(tmp_path / "damaged", {**little, name: damage}))
        assert name in str(caught.value)


def test_download_whole(server: Server, tmp_path: Path) -> None:
    folder = fashion_mnist.find_fashion_mnist(None)
    assert cached(tmp_path) == sorted(server.files)
    assert all((folder / name).read_bytes() == content for name, content in server.files.items())
    assert fashion_mnist.find_fashion_mnist(None) == folder
    assert server.requests == 4


def test_download_cut_off(server: Server, tmp_path: Path) -> None:
    server.cut = True
    with pytest.raises(DatasetError, match=r"cut off|cannot be downloaded"):
        fashion_mnist.find_fashion_mnist(None)
    assert cached(tmp_path) == []
    server.cut = False
    fashion_mnist.find_fashion_mnist(None)
    assert len(cached(tmp_path)) == 4


def test_download_of_another_content(server: Server, tmp_path: Path) -> None:
    name = fashion_mnist.FILES[1].name
    server.files[name] = gzip.compress(b"something else")
    with pytest.raises(DatasetError, match="SHA-256") as caught:
        fashion_mnist.find_fashion_mnist(None)
    assert server.url in str(caught.value)
    assert cached(tmp_path) == [fashion_mnist.FILES[0].name]


def test_download_of_too_much(server: Server, tmp_path: Path) -> None:
    server.files[fashion_mnist.FILES[0].name] = bytes(10**6)
    with pytest.raises(DatasetError, match="expected at most"):
        fashion_mnist.find_fashion_mnist(None)
    assert cached(tmp_path) == []


def test_download_404_says_which_ways_there_are(server: Server, tmp_path: Path) -> None:
    server.files.clear()
    with pytest.raises(DatasetError, match="404") as caught:
        fashion_mnist.find_fashion_mnist(None)
    for way in ("`data_dir`", fashion_mnist.DIRECTORY_VARIABLE, "Keras's cache", fashion_mnist.URL_VARIABLE):
        assert way in str(caught.value)
    assert cached(tmp_path) == []


def test_no_network_says_which_ways_there_are(tmp_path: Path) -> None:
    result = run_pocketlens(
        *("train", "--dataset", "fashion-mnist", "--out", tmp_path / "run"),
        FASHION_MNIST_DIR="",
        KERAS_HOME=str(tmp_path),
        FASHION_MNIST_URL="http://127.0.0.1:9/",
    )
    assert result.returncode == 1
    assert "--data-dir" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_only_http_is_fetched(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fashion_mnist.URL_VARIABLE, "file:///etc")
    with pytest.raises(DatasetError, match="http"):
        fashion_mnist.find_fashion_mnist(None)


@pytest.mark.skipif(not REAL, reason=f"{fashion_mnist.DIRECTORY_VARIABLE} is not set")
def test_the_real_files() -> None:
    data = load_dataset("fashion-mnist", Geometry(), Path(REAL or ""))
    assert data.pixels.shape == (70_000, 28, 28, 1)
    assert np.bincount(data.targets[data.given["test"]]).tolist() == [1000] * 10
    train = data.pixels[data.given["train"]] / 255
    assert train.mean() == pytest.approx(0.2860, abs=1e-4)
    assert train.std() == pytest.approx(0.3530, abs=1e-4)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0\x08", b"\0\0\x08\x01\0\0\0\x05abc", b"\0\0\x0d\x01\0\0\0\x01abcd", b"\0\0\x08\0", b"\0\0\x08\xff\0"],
)
def test_what_is_no_idx_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        parse_idx(content, "file")
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(DatasetError):
        read_idx(path, hashlib.sha256(content).hexdigest(), 1000)
