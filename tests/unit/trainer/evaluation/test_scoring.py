"""The scoring worker: the same scores as one call after the other, each sample decoded once, one error a model."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime import Classifier, Confidence, FeaturesInput, ImageInput, read_model
from runtime.model_file import reseal
from tests.support.exports import Exported, Samples
from trainer.data.sources import ArraySource, FileSource, VectorSource
from trainer.errors import RunError
from trainer.evaluation import worker as worker_functions
from trainer.evaluation.scoring import PendingScores, ScoringWorker
from trainer.evaluation.worker import DecodedSamples


@pytest.fixture(scope="module")
def worker() -> Iterator[ScoringWorker]:
    with ScoringWorker() as worker:
        yield worker


def files_of(samples: Samples) -> FileSource:
    paths = tuple(path.name for path in samples.files)
    return FileSource(
        samples.files[0].parent, paths, tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in samples.files)
    )


def test_the_scores_are_those_of_one_call_after_the_other(
    worker: ScoringWorker, digits_export: Exported, digits_samples: Samples, tmp_path: Path
) -> None:
    source = files_of(digits_samples)
    added = worker.add_samples(source)
    for path in (digits_export.float32, digits_export.int8):
        contract = read_model(path).contract
        warm = tmp_path / f"warm-{path.name}"
        warm.write_bytes(reseal(path.read_bytes(), replace(contract, confidence=Confidence(1.7))))
        for model in (path, warm):
            classifier = Classifier(model)
            stored = [classifier.run(source.sample(index)) for index in range(len(source))]
            found = worker.submit_scores(model, added).result()
            np.testing.assert_array_equal(found.scores, np.stack([classifier.interpret(s) for s in stored]))
            np.testing.assert_array_equal(
                found.uncalibrated, np.stack([classifier.interpret(s, calibrated=False) for s in stored])
            )
            assert found.output_step == classifier.output.scale
            assert found.interpreter.startswith(("tflite-runtime ", "ai-edge-litert "))
    again = worker.submit_scores(warm, worker.add_samples(ArraySource(np.stack(digits_samples.arrays)))).result()
    np.testing.assert_array_equal(again.scores, found.scores)


def test_a_bare_flatbuffer_is_scored_with_the_contract_that_is_given(
    worker: ScoringWorker, digits_export: Exported, digits_samples: Samples, tmp_path: Path
) -> None:
    file = read_model(digits_export.int8)
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(file.flatbuffer)
    added = worker.add_samples(files_of(digits_samples))
    wanted = worker.submit_scores(digits_export.int8, added).result()
    np.testing.assert_array_equal(worker.submit_scores(bare, added, file.contract).result().scores, wanted.scores)


def test_calls_are_timed_alone(worker: ScoringWorker, digits_export: Exported, digits_samples: Samples) -> None:
    found = worker.time_calls(digits_export.int8, worker.add_samples(files_of(digits_samples)))
    assert 0 < found["median"] <= found["p95"]


def test_a_model_that_kills_the_process_is_one_line_and_the_next_is_scored(
    worker: ScoringWorker, digits_export: Exported, digits_samples: Samples
) -> None:
    crashing = PendingScores(worker.submit("os:abort"), worker.folder / "none", "bad.tflite")
    after = worker.submit_scores(digits_export.int8, worker.add_samples(files_of(digits_samples)))
    with pytest.raises(RunError, match=r"^bad\.tflite: cannot be scored: its process died of SIGABRT$"):
        crashing.result()
    assert len(after.result().scores) == len(digits_samples.files)


def test_a_picture_that_has_changed_is_named(
    worker: ScoringWorker, digits_export: Exported, digits_samples: Samples
) -> None:
    source = replace(files_of(digits_samples), sha256=("0" * 64,) * len(digits_samples.files))
    with pytest.raises(RunError, match=r"int8\.tflite: cannot be scored: .*png: changed since training"):
        worker.submit_scores(digits_export.int8, worker.add_samples(source)).result()


class Counting(ArraySource):
    """Counts how often each of its images is read."""

    def __init__(self, images: np.ndarray[Any, Any]) -> None:
        super().__init__(images)
        object.__setattr__(self, "reads", [0] * len(images))

    def sample(self, index: int) -> Any:
        self.reads[index] += 1  # type: ignore[attr-defined]
        return super().sample(index)


@pytest.mark.parametrize(("limit", "reads"), [(2**20, 1), (0, 1), (None, 2)])
def test_each_sample_is_decoded_once_in_memory_or_in_a_file(
    monkeypatch: pytest.MonkeyPatch, limit: int | None, reads: int
) -> None:
    if limit is None:  # a full disk: they are decoded again

        def refuse(*_arguments: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.posix_fallocate", refuse)
    images = np.random.default_rng(0).integers(0, 256, (9, 12, 10, 3), dtype=np.uint8)
    source = Counting(images)
    decoded = DecodedSamples(source, ImageInput(12, 10, "rgb"), limit or 0)
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate([decoded[index] for index in range(9)]), images)
    assert source.reads == [reads] * 9  # type: ignore[attr-defined]


def test_all_splits_share_the_memory(
    worker: ScoringWorker, digits_samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, spec = ArraySource(np.stack(digits_samples.arrays)), ImageInput(8, 8, "grey")
    monkeypatch.setattr(worker_functions, "_decoded", {})
    monkeypatch.setattr(worker_functions, "_MAX_BYTES_IN_MEMORY", len(source) * 64 + 10)
    folders = [str(worker.add_samples(source)) for _ in range(2)]
    decoded = [worker_functions.decoded_samples(folder, spec) for folder in folders]
    assert [each.bytes_in_memory for each in decoded] == [len(source) * 64, 0]
    rows = range(len(source))
    np.testing.assert_array_equal(decoded[0].batch(rows), decoded[1].batch(rows))


def test_vectors_stay_as_they_are() -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 2))
    decoded = DecodedSamples(VectorSource(vectors), FeaturesInput(("x", "y")), 2**20)
    np.testing.assert_array_equal(np.concatenate([decoded[index] for index in range(5)]), vectors)


def test_a_jpeg_is_decoded_as_the_contract_says() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")

    class One(ArraySource):
        def sample(self, index: int) -> Any:
            return buffer.getvalue()

    decoded = DecodedSamples(One(np.empty((1, 1, 1), np.uint8)), ImageInput(8, 8, "bgr"), 2**20)
    assert decoded[0].shape == (1, 8, 8, 3)
