"""The readers of everything that comes from a file or a command line and is no image, each with an intact document."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
import zipfile
from collections.abc import Callable, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np

from exporter.budget.predict import Predictor
from runtime import Contract, FeaturesInput, ImageInput, PocketlensError, Provenance, read_model
from runtime.cli.classify import COMMAND
from runtime.cli.options import parse
from runtime.csv_rows import read_rows
from runtime.device_profile.format import DeviceProfile, Setting, parse_profile
from runtime.device_profile.probes import all_probes
from runtime.external.labels import read_labels
from runtime.features import load_vector
from runtime.model_file import SEAL
from runtime.selftest.format import MEMBER, GoldenOutputs, SelfTest, read_selftest
from runtime.tflite.metadata import read_metadata
from runtime.tflite.model import check_structure
from runtime.watch.journal import Journal
from runtime.watch.journal_file import APPLICATION_ID, SCHEMA, History
from trainer.data.loaders.fashion_mnist import parse_idx
from trainer.data.loaders.features import holds_features, load_features
from trainer.data.loaders.label_file import read_label_file
from trainer.data.run_folder import read_run
from trainer.fitting.checkpoint import Checkpoint, parse_checkpoint, save_checkpoint
from trainer.keras_inspection.archive import check_keras_archive
from trainer.run_writer import was_interrupted

_CONTRACT = Contract(("a", "b"), ImageInput(8, 8, "grey", mean=(73,), std=(90,)), provenance=Provenance("pets", 7))
_PLANT = Contract(("dry", "wet"), FeaturesInput(("moisture", "light"), (0.3, 20), (0.1, 5)))
_LABELS = b'0: cat\n1: dog\n2: "bird"\n'
_TABLE = b"moisture,light,label\n0.3,21,dry\n0.4,22,wet\n0.5,20,dry\n0.31,19,wet\n0.2,25,dry\n0.7,11,wet\n"
_PATHS = b"path,label,split\na.png,cat;dog,train\nb/c.png,,test\nd.png,dog,val\n"
_OLD_JOURNAL = (
    b'{"format": "pocketlens-watch", "version": 1, "folder": "%s"}\n'
    b'{"path": "a.jpg", "size": 912, "mtime_ns": 17180, "inode": 77, "predictions": '
    b'[{"label": "a", "score": 0.9, "index": 0}]}\n{"told": "a.jpg", "moved_to": "/srv/a.jpg"}\n'
    b'{"path": "b.jpg", "size": 1, "mtime_ns": 2, "inode": 3, "error": "no image"}\n'
)
_KERAS = {
    "class_name": "Functional",
    "module": "keras",
    "config": {"name": "net", "layers": [{"class_name": "Dense", "module": "keras.layers", "config": {"name": "d"}}]},
}
_RUN_FILES = ("contract.json", "splits.json", "images.npy", "history.csv", "metrics.json")
_DIGEST_BYTES = 32
_HISTORY = b"epoch,phase,loss,accuracy,seconds\n1,train,0.5,0.7,1.5\n2,train,0.4,0.8,1.5\n"
_OPTIONS = b"--model\nm.tflite\n--top=3\n--min-score\n0.5\n--json\n--features\n1,2\nimage.png"


def _small_profile() -> bytes:
    """A profile with a few of the probes."""
    probes = tuple(probe._replace(content=b"") for probe in islice(all_probes(), 0, None, 12))
    count = len(probes)
    setting = Setting("tflite_runtime", "2.14.0", 1, tuple(0.01 + place for place in range(count)), (90_000,) * count)
    return DeviceProfile("a board", "aarch64", 4, "0.1.0", probes, (setting,)).to_json().encode()


class Readers:
    """The readers, by name, each with an intact document; a folder of its own holds their files."""

    def __init__(self, folder: Path, model: bytes) -> None:
        self._folder = folder
        self._flatbuffer = read_model(model).flatbuffer
        self._model = model
        self._run = folder / "run"
        self._write_run()
        self.readers: Mapping[str, tuple[Callable[[bytes], object], bytes]] = {
            "contract": (Contract.from_json, _CONTRACT.to_json().encode()),
            "plant contract": (Contract.from_json, _PLANT.to_json().encode()),
            "flatbuffer": (self._structure, model),
            "archive": (read_model, model),
            "sealed contract": (self._sealed, _CONTRACT.to_json().encode()),
            "selftest": (self._selftest, self._golden()),
            "labels": (self._with_file(read_labels, "labels.txt"), _LABELS),
            "rows": (self._with_file(self._rows, "rows.csv"), _TABLE),
            "values": (self._values, b'{"moisture": 0.3, "light": 21}'),
            "options": (lambda content: parse(COMMAND, content.decode(errors="surrogateescape").split("\n")), _OPTIONS),
            "table": (self._with_file(self._table, "table.csv"), _TABLE),
            "label file": (self._with_file(read_label_file, "labels.csv"), _PATHS),
            "old journal": (self._journal, _OLD_JOURNAL % str(folder / "watched").encode()),
            "answer": (self._answer, b'{"predictions": [{"label": "a", "score": 0.9, "index": 0}]}'),
            "journal": (self._journal, self._sqlite(b'{"error": "no image"}')),
            "keras": (self._keras, json.dumps(_KERAS).encode()),
            "idx": (lambda content: parse_idx(content, "x"), bytes((0, 0, 8, 1, 0, 0, 0, 4)) + b"abcd"),
            "checkpoint": (self._checkpoint, self._stopped()),
            "profile": (self._profile, _small_profile()),
            **{name: (self._of_run(name), (self._run / name).read_bytes()) for name in _RUN_FILES},
        }

    def _with_file(self, read: Callable[[Path], object], name: str) -> Callable[[bytes], object]:
        path = self._folder / name

        def run(content: bytes) -> object:
            path.write_bytes(content)
            return read(path)

        return run

    def _structure(self, content: bytes) -> object:
        return read_metadata(content, check_structure(content), "model")

    def _sealed(self, contract: bytes) -> object:
        return read_model(_resealed(self._flatbuffer, {"contract.json": contract}))

    def _selftest(self, content: bytes) -> object:
        return read_selftest(
            read_model(_resealed(self._flatbuffer, {"contract.json": _CONTRACT.to_json().encode(), MEMBER: content}))
        )

    @staticmethod
    def _golden() -> bytes:
        answers = (GoldenOutputs("tflite_runtime", "2.14.0", "x86_64", np.full((2, 2), 0.5, np.float32)),)
        return SelfTest(np.zeros((2, 8, 8, 1), np.uint8), answers, 0.0, 0.1).to_json()

    def _profile(self, content: bytes) -> object:
        return Predictor(parse_profile(content)).predict(self._model)

    @staticmethod
    def _rows(path: Path) -> object:
        vectors = []
        for row in read_rows([str(path)], _PLANT.input):  # type: ignore[arg-type]
            vectors.append(row.vector(_PLANT.input))  # type: ignore[arg-type]
        return vectors

    @staticmethod
    def _values(content: bytes) -> object:
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            return None
        return load_vector(value, _PLANT.input)  # type: ignore[arg-type]

    @staticmethod
    def _table(path: Path) -> object:
        return load_features(path) if holds_features(path) else None

    def _journal(self, content: bytes) -> object:
        path, folder = self._folder / "watch.sqlite", self._folder / "watched"
        for old in self._folder.glob("watch.sqlite*"):
            old.unlink()
        folder.mkdir(exist_ok=True)
        path.write_bytes(content)
        with Journal(path, folder) as journal:
            waiting = [answer.as_dict() for answer in journal.undelivered()]
        return waiting, list(History(path, folder))

    def _sqlite(self, answer: bytes) -> bytes:
        path = self._folder / "made.sqlite"
        path.unlink(missing_ok=True)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            for statement in SCHEMA:
                connection.execute(statement)
            connection.execute("INSERT INTO meta VALUES (1, ?)", (str((self._folder / "watched").resolve()).encode(),))
            connection.execute(
                "INSERT INTO answers VALUES (1, ?, '1 2 3', ?, NULL, 0)", (b"a.png", answer.decode(errors="replace"))
            )
        return path.read_bytes()

    def _answer(self, content: bytes) -> object:
        return self._journal(self._sqlite(content))

    def _keras(self, content: bytes) -> None:
        path = self._folder / "model.keras"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", content)
        check_keras_archive(path, PocketlensError, cure="train again")

    def _stopped(self) -> bytes:
        path = self._folder / "checkpoint.npz"
        arrays = [np.zeros(3, np.float32)]
        save_checkpoint(path, Checkpoint(arrays, arrays, arrays, 1, 0.5, 0.5, [{"loss": 0.5}]), "x")
        return path.read_bytes()[:-_DIGEST_BYTES]

    def _checkpoint(self, content: bytes) -> object:
        return parse_checkpoint(content + hashlib.sha256(content).digest(), self._folder / "checkpoint.npz", "x")

    def _write_run(self) -> None:
        shutil.rmtree(self._run, ignore_errors=True)
        self._run.mkdir()
        (self._run / "model.keras").touch()  # not read here
        (self._run / "contract.json").write_text(_CONTRACT.to_json())
        splits = {"train": [0, 1], "validation": [2, 3], "test": [4, 5]}
        images = {"kind": "array", "file": "images.npy"}
        document = {"version": 1, "images": images, "targets": [0, 1] * 3, **splits}
        (self._run / "splits.json").write_text(json.dumps(document))
        np.save(self._run / "images.npy", np.zeros((6, 8, 8), np.uint8))
        (self._run / "history.csv").write_bytes(_HISTORY)
        (self._run / "metrics.json").write_text(json.dumps({"settings": {"size": "tiny"}, "stopped": "interrupted"}))

    def _of_run(self, name: str) -> Callable[[bytes], object]:
        intact = (self._run / name).read_bytes()

        def run(content: bytes) -> object:
            (self._run / name).write_bytes(content)
            try:
                was_interrupted(self._run)
                found = read_run(self._run)
                return found.metrics, found.history, found.seconds, found.source.digest()
            finally:
                (self._run / name).write_bytes(intact)

        return run


def _resealed(flatbuffer: bytes, members: Mapping[str, bytes]) -> bytes:
    """A sealed file with these members, as anybody can make it."""
    buffer = io.BytesIO()
    buffer.write(flatbuffer)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.comment = SEAL + bytes(64)
    body = buffer.getvalue()[:-64]
    return body + hashlib.sha256(body).hexdigest().encode()
