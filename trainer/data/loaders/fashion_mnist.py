"""Loads Fashion-MNIST: 60,000 + 10,000 grey 28x28 images of ten kinds of clothing, with the publisher's test set.

The files are in the IDX format of the MNIST family: a header that gives the shape, then bytes.

Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms, arXiv:1708.07747, 2017. Y. LeCun, C. Cortes, C. Burges, The MNIST database, "file formats".
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import math
import os
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.files import shown

from ...errors import DatasetError
from ..dataset import Dataset, Geometry, array_pixels
from ..download import download
from ..sources import ArraySource

_logger = logging.getLogger(__name__)

DIRECTORY_VARIABLE = "FASHION_MNIST_DIR"
#: Names a mirror to download from; the content is checked either way.
URL_VARIABLE = "FASHION_MNIST_URL"
#: The IDX type of unsigned bytes.
_UNSIGNED_BYTE = 0x08
#: Keras downloads the same files from there.
_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"

LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@dataclass(frozen=True)
class _File:
    """A file's name, and the size and SHA-256 of its decompressed content."""

    name: str
    size: int
    sha256: str


_TRAIN_IMAGES = _File(
    "train-images-idx3-ubyte.gz", 47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
)
_TRAIN_LABELS = _File(
    "train-labels-idx1-ubyte.gz", 60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
)
_TEST_IMAGES = _File(
    "t10k-images-idx3-ubyte.gz", 7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
)
_TEST_LABELS = _File(
    "t10k-labels-idx1-ubyte.gz", 10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
)
FILES = (_TRAIN_IMAGES, _TRAIN_LABELS, _TEST_IMAGES, _TEST_LABELS)


def load_fashion_mnist(geometry: Geometry, data_dir: Path | None = None) -> Dataset:
    """The data set, grey 28x28 unless the geometry says otherwise; downloaded into Keras's cache if necessary.

    Args:
        data_dir: the folder of the four IDX files; by default they are looked for as `find_fashion_mnist` says.

    Raises:
        DatasetError: a file is damaged, or cannot be found or downloaded.
    """
    folder = find_fashion_mnist(data_dir)
    _logger.info("fashion-mnist: reading from %s", folder)
    arrays = {file: read_idx(folder / file.name, file.sha256, file.size) for file in FILES}
    images = np.concatenate([arrays[_TRAIN_IMAGES], arrays[_TEST_IMAGES]])
    targets = np.concatenate([arrays[_TRAIN_LABELS], arrays[_TEST_LABELS]]).astype(np.int32)
    spec = geometry.resolve((28, 28), "grey")
    first_test = len(arrays[_TRAIN_LABELS])
    return Dataset(
        name="fashion-mnist",
        labels=LABELS,
        input=spec,
        pixels=array_pixels(images, spec),
        targets=targets,
        source=ArraySource(images),
        given={"train": np.arange(first_test), "test": np.arange(first_test, len(images))},
        date="2017-08-25",
        augmentation=("shift", "flip"),
    )


def find_fashion_mnist(data_dir: Path | None) -> Path:
    """The given folder; without one, that of $FASHION_MNIST_DIR or Keras's cache, into which they are downloaded.

    Raises:
        DatasetError: the given folder lacks a file, or no folder has the files and they cannot be downloaded.
    """
    if data_dir is not None:
        if missing := _missing(data_dir):
            raise DatasetError(
                f"`data_dir` {shown(data_dir)}: no {missing[0]} there; name the folder of the {len(FILES)} files "
                f"({', '.join(file.name for file in FILES)}), or leave it out to use Keras's cache or download them"
            )
        return data_dir
    cache = _cache()
    named = os.environ.get(DIRECTORY_VARIABLE)
    if named and not _missing(Path(named)):
        return Path(named)
    if named:
        _logger.info("$%s: no %s in %s; looking elsewhere", DIRECTORY_VARIABLE, _missing(Path(named))[0], shown(named))
    if not _missing(cache):
        return cache
    base = os.environ.get(URL_VARIABLE) or _URL
    for file in FILES:
        if (cache / file.name).is_file():
            continue
        try:
            download(
                f"{base.rstrip('/')}/{file.name}",
                cache / file.name,
                # A compressed file is never much larger than its content.
                limit=file.size + 2**16,
                check=partial(read_idx, sha256=file.sha256, limit=file.size),
            )
        except DatasetError as error:
            raise DatasetError(
                f"{error}. Fashion-MNIST can be had in three ways: put its files ({', '.join(f.name for f in FILES)}) "
                f"into a folder and name it with `data_dir` (make: DATA_DIR=) or ${DIRECTORY_VARIABLE}; put them into "
                f"Keras's cache, {cache}; or try again with a network (${URL_VARIABLE} names a mirror)"
            ) from error
    return cache


def _missing(folder: Path) -> list[str]:
    """The names of the files that a folder lacks."""
    return [file.name for file in FILES if not (folder / file.name).is_file()]


def _cache() -> Path:
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "datasets" / "fashion-mnist"


def read_idx(path: Path, sha256: str, limit: int) -> npt.NDArray[np.uint8]:
    """The array in a gzipped IDX file whose *decompressed* content has the given SHA-256.

    The compressed bytes may differ from the publisher's: only the content is checked.

    Args:
        limit: decompressed bytes read at most, so that a small hostile file cannot fill the memory.

    Raises:
        DatasetError: the file is missing, not gzip, or cut off, or has another content.
    """
    try:
        with gzip.open(path) as file:
            content = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path}: cannot be decompressed ({error}); delete it and fetch it again") from error
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise DatasetError(
            f"{path}: its decompressed content has SHA-256 {actual[:12]}..., expected {sha256[:12]}...; "
            "it is damaged or another file: delete it and fetch it again"
        )
    return parse_idx(content, str(path))


def parse_idx(content: bytes, name: str) -> npt.NDArray[np.uint8]:
    """The array in decompressed IDX content; raises DatasetError where it is not an array of unsigned bytes."""
    axes = content[3] if len(content) >= 4 else 0
    start = 4 + 4 * axes
    if content[:2] != b"\0\0" or not axes or content[2] != _UNSIGNED_BYTE or len(content) < start:
        raise DatasetError(f"{name}: not an IDX file of unsigned bytes")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", axes, 4))
    if math.prod(shape) != len(content) - start:
        raise DatasetError(f"{name}: its header says shape {shape}, it holds {len(content) - start} bytes")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
