"""Checks of a representative dataset: faults that would ruin a quantized model without a message."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from runtime import Contract, ImageInput, load_pixels
from runtime.child_process import ChildError
from runtime.features import Vector
from runtime.images import Pixels
from runtime.input_spec import FeaturesInput
from runtime.progress import progress
from runtime.thread_map import ordered_map
from trainer.config import STANDARDISE
from trainer.data.duplicates import BLANK, MAX_COMPARED, Fingerprints
from trainer.data.run_folder import RunFolder
from trainer.data.sources import Indices, Source
from trainer.evaluation.worker import decoded_samples

from .errors import ExportError
from .image_comparison import are_other_pixels, label_warnings, other_images_warnings
from .scoring import SplitScorer

Figures: TypeAlias = dict[str, Any]

#: With fewer samples the ranges of layers depend on chance.
MIN_SAMPLES = 100
#: Standard deviations beyond which a feature is clipped.
CLIP_DEVIATIONS = 6.0
#: Up to this share near duplicates are normal. Above it, images were copied or are frames of one scene.
_MANY_NEAR = 0.1
#: Up to this share equal vectors are normal; a coarse sensor has more.
_MANY_EQUAL = 0.1
#: The number of images that are fingerprinted at once.
_BATCH = 64


def fingerprint_images(source: Source, indices: Indices, spec: ImageInput) -> tuple[Fingerprints, Pixels]:
    """Decode images for the model's input: their fingerprints, and their pixels, shape (n, height, width, channels)."""
    pixels = np.empty((len(indices), *spec.shape), np.uint8)
    with progress(len(indices), "checking the calibration images") as bar:
        for row, image in enumerate(source.map(indices.tolist(), lambda sample: load_pixels(sample, spec))):
            pixels[row] = image
            bar.update(1)
    prints = Fingerprints()
    for start in range(0, len(pixels), _BATCH):
        prints.add(pixels[start : start + _BATCH])
    return prints, pixels


def request_fingerprints(scorer: SplitScorer, contract: Contract) -> Callable[[], Fingerprints]:
    """Let the scoring worker decode the images of the test split and fingerprint them.

    Returns:
        A function that waits for the fingerprints. It raises an ExportError if an image cannot be read.
    """
    out = scorer.worker.folder / "fingerprints.npz"
    arguments = (str(scorer.samples("test")), contract.to_json(), str(out))
    call = scorer.worker.submit(f"{__name__}:write_fingerprints", *arguments)

    def wait() -> Fingerprints:
        try:
            call.result()
        except ChildError as error:
            raise ExportError(str(error)) from error
        return Fingerprints.load(out)

    return wait


def write_fingerprints(samples: str, contract: str, out: str) -> None:
    """Fingerprint the images that `ScoringWorker.add_samples` put into a folder; the scoring worker calls this."""
    decoded = decoded_samples(samples, Contract.from_json(contract).input)
    prints = Fingerprints()
    batches = [range(start, min(start + _BATCH, len(decoded))) for start in range(0, len(decoded), _BATCH)]
    with progress(len(decoded), "decoding the test images") as bar:
        for pixels in ordered_map(decoded.batch, batches, os.cpu_count() or 1):
            prints.add(pixels)
            bar.update(len(pixels))
    prints.save(Path(out))


def check_images(
    run: RunFolder, chosen: Indices, prints: Fingerprints, pixels: Pixels, test: Fingerprints
) -> tuple[Pixels, Figures, tuple[str, ...]]:
    """Compare images with each other, with the training pixels and with the test split.

    They are compared after decoding and resizing, so the same picture saved in two formats counts as one. A training
    image that is also in the test split is left out; in a user's own folder it is an error.

    Args:
        chosen: indices of the images, at least one.
        prints, pixels: of these, from `fingerprint_images`.
        test: the images of the test split.

    Returns:
        The pixels of the images that are kept, figures for `report.json`, and warnings, a line each.

    Raises:
        ExportError: all images are one, or a given folder shares images with the test split.
    """
    tested = set(test.digests) - {BLANK}
    shared = np.array([digest in tested for digest in prints.digests])
    if shared.any() and run.is_external:
        raise ExportError(
            f"calibration: {shared.sum()} of {len(chosen)} images are test images too (equal once resized), so that "
            "the figures would flatter; take them out of one of the folders"
        )
    odd = tuple(label_warnings(run, chosen, prints, test))
    if shared.any():
        chosen, pixels, prints = chosen[~shared], pixels[~shared], prints.select(np.flatnonzero(~shared))
    distinct = len(set(prints.digests))
    if set(prints.digests) == {BLANK}:  # each of one colour, as all images of one pixel are
        distinct = len(np.unique(pixels[:, 0, 0], axis=0))
    if distinct < 2:
        raise ExportError(
            f"calibration: {len(chosen)} images, {distinct} distinct; one image shows the quantizer no range: give at "
            f"least {MIN_SAMPLES} different ones, see `calibration_samples`"
        )
    near, near_test = _count_near(run, pixels, prints, test)
    figures = {
        "classes": _count_classes(run, chosen) or None,
        "duplicates": prints.count_copies(),
        "near_duplicates": near,
        "pixels": {
            "min": int(pixels.min()),
            "max": int(pixels.max()),
            "mean": round(float(pixels.mean(dtype=np.float64)), 2),
            "std": round(float(pixels.std(dtype=np.float64)), 2),
        },
        "overlap": int(shared.sum()),
        "near_overlap": near_test,
    }
    warnings = (*_image_warnings(run, figures, len(chosen)), *other_images_warnings(run, pixels), *odd)
    return pixels, figures, warnings


def _count_classes(run: RunFolder, chosen: Indices) -> int:
    targets = run.targets[chosen]
    return int(targets.any(axis=0).sum()) if targets.ndim == 2 else len(np.unique(targets[targets >= 0]))


def _count_near(run: RunFolder, pixels: Pixels, prints: Fingerprints, test: Fingerprints) -> tuple[int, int]:
    """How many of the images look like an earlier one of them, and how many like a test image."""
    count, spec = len(pixels), run.contract.image_input

    @lru_cache(maxsize=256)
    def read(place: int) -> Pixels:
        if place < count:
            own: Pixels = pixels[place]
            return own
        return load_pixels(run.source.sample(int(run.splits["test"][place - count])), spec)

    pairs, _ = prints.joined(test).near_pairs(read, first_below=count, most=MAX_COMPARED)
    earlier = {pair.second for pair in pairs if pair.second < count}
    return len(earlier), len({pair.first for pair in pairs if pair.second >= count})


def _image_warnings(run: RunFolder, figures: Mapping[str, Any], count: int) -> Iterator[str]:
    classes = len(run.contract.labels)
    if count < MIN_SAMPLES:
        yield f"calibration: {count} images; below {MIN_SAMPLES} the ranges of layers are found by chance, give more"
    if figures["classes"] is not None and figures["classes"] < classes:
        yield f"calibration: only {figures['classes']} of {classes} classes have an image"
    if figures["duplicates"]:
        yield f"calibration: {figures['duplicates']} of {count} images are copies of another"
    if figures["near_duplicates"] > _MANY_NEAR * count:
        yield f"calibration: {figures['near_duplicates']} of {count} images look almost like another"
    if figures["overlap"]:
        yield f"calibration: {figures['overlap']} training images are in the test split too, and were left out"
    if figures["near_overlap"] > _MANY_NEAR * count:
        yield f"calibration: {figures['near_overlap']} of {count} images look almost like a test image"
    yield from _range_warnings(run, figures["pixels"])


def _range_warnings(run: RunFolder, pixels: Mapping[str, float]) -> Iterator[str]:
    if not _is_scaling_measured(run):  # its training pixels are unknown; but a pixel can be 0 to 255
        if pixels["max"] - pixels["min"] < 128:
            yield f"calibration: the pixels are {pixels['min']} to {pixels['max']}, less than half of what there can be"
        return
    mean, std = run.contract.image_input.mean[0], run.contract.image_input.std[0]
    if are_other_pixels(pixels["mean"], pixels["std"], mean, std):
        yield (
            f"calibration: pixels of mean {pixels['mean']} and deviation {pixels['std']}, "
            f"training's are {mean:g} and {std:g}; these are other pictures"
        )


def _is_scaling_measured(run: RunFolder) -> bool:
    """Whether the contract's mean and std are those of the training pixels."""
    if run.is_external:
        return False
    settings = run.metrics["settings"] if (run.folder / "metrics.json").is_file() else {}
    has_backbone = settings.get("weights") is not None  # a backbone has a scaling of its own
    return settings.get("scaling", STANDARDISE) == STANDARDISE and settings.get("normalise", True) and not has_backbone


def check_chosen_vectors(
    run: RunFolder, chosen: Indices, vectors: Vector, trained: Vector, tested: Vector
) -> tuple[Figures, tuple[str, ...]]:
    """Compare vectors of features with each other and with the test split.

    Args:
        chosen: indices of the vectors.
        vectors: those, shape (n, features).
        trained, tested: all vectors of the training and of the test split.

    Returns:
        Figures for `report.json`, and warnings, a line each.

    Raises:
        ExportError: all vectors are one.
    """
    distinct = len(np.unique(vectors, axis=0))
    if distinct < 2:
        raise ExportError(
            f"calibration: {len(vectors)} vectors, all the same; one shows the quantizer no range: "
            f"give at least {MIN_SAMPLES} different ones, see `calibration_samples`"
        )
    spec: FeaturesInput = run.contract.input  # type: ignore[assignment]  # the caller saw to it
    test = {row.tobytes() for row in tested}
    figures = {
        "classes": len(set(run.targets[chosen].tolist())),
        "duplicates": len(vectors) - distinct,
        "overlap": sum(row.tobytes() in test for row in vectors),
        "features": {
            name: {"min": float(column.min()), "max": float(column.max())}
            for name, column in zip(spec.names, vectors.T, strict=True)
        },
    }
    clipped = (np.abs((trained - spec.mean) / spec.std) > CLIP_DEVIATIONS).sum(axis=0)
    names = zip(spec.names, vectors.T, clipped.tolist(), strict=True)
    return figures, (*_vector_warnings(run, figures, len(vectors)), *_feature_warnings([*names]))


def _vector_warnings(run: RunFolder, figures: Mapping[str, Any], count: int) -> Iterator[str]:
    classes = len(run.contract.labels)
    if count < MIN_SAMPLES:
        yield f"calibration: {count} vectors; below {MIN_SAMPLES} the ranges of layers are found by chance, give more"
    if figures["classes"] < classes:
        yield f"calibration: only {figures['classes']} of {classes} classes have a vector"
    if figures["overlap"] > _MANY_EQUAL * count:
        yield (
            f"calibration: {figures['overlap']} of {count} training vectors are test vectors too; where the readings "
            "of a sensor repeat themselves so much, accuracy says little of new ones"
        )


def _feature_warnings(features: list[tuple[str, Vector, int]]) -> Iterator[str]:
    for name, column, _ in features:
        if column.min() == column.max():
            yield f"calibration: feature {name!r} is {column[0]:g} in every vector; it tells the model nothing"
    for name, _, clipped in features:
        if clipped:
            yield (
                f"calibration: feature {name!r} lies more than {CLIP_DEVIATIONS:g} standard deviations from its mean "
                f"in {clipped} training vectors; 8-bit files clip it there"
            )
