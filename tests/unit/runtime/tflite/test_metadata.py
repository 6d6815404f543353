"""Standard TFLite metadata: scaling, colour and labels."""

from __future__ import annotations

import struct
import zipfile

import numpy as np
import pytest

from runtime import Classifier, ModelFileError
from runtime.tflite.metadata import Metadata, read_metadata
from runtime.tflite.model import check_structure
from tests.support.external_models import LABELS, converted, metadata, with_metadata

LABELS_TXT = "".join(f"{label}\n" for label in LABELS).encode()
PICTURE = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))


def read(content: bytes) -> Metadata | None:
    return read_metadata(content, check_structure(content), "m.tflite")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_normalization_colour_and_labels_are_read(compression: int) -> None:
    about = metadata([127.5], [127.5], 1)
    content = with_metadata(converted(), about, {"labels.txt": LABELS_TXT, "other.txt": b"x"}, compression)
    assert read(content) == Metadata((127.5,), (127.5,), "rgb", LABELS_TXT, "labels.txt")


def test_a_model_without_metadata_has_none() -> None:
    assert read(converted()) is None
    assert read(with_metadata(converted(), metadata(labels_files=()), {})) == Metadata()


def test_the_labels_without_a_locale_are_taken() -> None:
    about = metadata([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], 2, [("de.txt", "de"), ("en.txt", "")])
    found = read(with_metadata(converted(), about, {"de.txt": b"Katze\n", "en.txt": b"cat\n"}))
    assert found == Metadata((0, 1, 2), (1, 2, 3), "grey", b"cat\n", "en.txt")


def test_a_model_with_metadata_needs_nothing_more() -> None:
    content = with_metadata(converted(), metadata([127.5], [127.5], 1), {"labels.txt": LABELS_TXT})
    classifier = Classifier(content)
    explicit = Classifier(converted(), labels=LABELS, mean=127.5, std=127.5)
    assert classifier.contract == explicit.contract
    assert classifier.contract.labels == LABELS
    np.testing.assert_array_equal(classifier.scores(PICTURE), explicit.scores(PICTURE))


def test_a_quantized_input_gets_the_normalized_value_by_its_own_scale() -> None:
    content = with_metadata(converted("uint8"), metadata([127.5], [127.5], 1), {"labels.txt": LABELS_TXT})
    classifier = Classifier(content)
    scale, zero_point = classifier.input.scale, classifier.input.zero_point
    wanted = np.clip(np.rint((PICTURE - 127.5) / 127.5 / scale) + zero_point, 0, 255)
    np.testing.assert_allclose(classifier.preprocessor(PICTURE)[0], wanted, atol=1)


def test_what_is_said_wins_over_the_metadata() -> None:
    content = with_metadata(converted(), metadata([127.5], [127.5], 1), {"labels.txt": LABELS_TXT})
    contract = Classifier(content, labels=["a", "b", "c"], mean=0, std=[1, 2, 3], colour="bgr").contract
    assert contract.labels == ("a", "b", "c")
    spec = contract.image_input
    assert (spec.mean, spec.std, spec.colour) == ((0, 0, 0), (1, 2, 3), "bgr")


def test_damaged_metadata_is_refused_or_harmless() -> None:
    about = metadata([127.5], [127.5], 1)
    rng = np.random.default_rng(2)
    refused = 0
    for _ in range(200):
        damaged = bytearray(about)
        damaged[rng.integers(8, len(about))] ^= 1 << rng.integers(8)
        try:
            read(with_metadata(converted(), bytes(damaged), {"labels.txt": LABELS_TXT}))
        except ModelFileError:
            refused += 1
    assert 20 < refused < 200
    with pytest.raises(ModelFileError, match="metadata is damaged"):
        read(with_metadata(converted(), b"nonsense, and more of it", {}))


def bomb() -> bytes:
    return with_metadata(converted(), metadata(), {"labels.txt": bytes(50 * 2**20)}, zipfile.ZIP_DEFLATED)


def encrypted() -> bytes:
    content = bytearray(with_metadata(converted(), metadata(), {"labels.txt": LABELS_TXT}))
    struct.pack_into("<H", content, content.rindex(b"PK\1\2") + 8, 1)
    return bytes(content)


def lzma() -> bytes:
    return with_metadata(converted(), metadata(), {"labels.txt": LABELS_TXT}, zipfile.ZIP_LZMA)


def changed_member() -> bytes:
    return with_metadata(converted(), metadata(), {"labels.txt": LABELS_TXT}).replace(b"cat\ndog", b"cow\ndog")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: with_metadata(converted(), metadata(), {"other.txt": b"x"}), "not in its archive"),
        (lambda: with_metadata(converted(), metadata(), {}), "cannot be read from its archive"),
        (bomb, "more than 4 MiB"),
        (encrypted, "encrypted"),
        (lzma, "compressed in a way"),
        (changed_member, "CRC"),
        (lambda: with_metadata(converted(), metadata(), {"labels.txt": LABELS_TXT})[:-30], "cut off"),
        (lambda: with_metadata(converted(), metadata(), {"big": bytes(9 * 2**20)}), "more than 8 MiB"),
    ],
)
def test_a_hostile_archive_is_refused(content, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ModelFileError, match=message):
        read(content())
