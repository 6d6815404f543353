"""The data set of a run folder, to train on again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from runtime import FeaturesInput

from .dataset import Dataset, FilePixels, PixelStore, array_pixels
from .image_cache import open_cache
from .run_folder import RunFolder
from .sources import ArraySource, FileSource, Indices, VectorSource


def dataset_of_run(run: RunFolder, members: Indices, given: Mapping[str, Indices]) -> Dataset:
    """The samples of a run as a data set, in the geometry of its model.

    Args:
        members: the samples that will be read.
        given: the splits of the data set.

    Raises:
        DatasetError: there is no room for decoded images.
    """
    contract = run.contract
    spec: Any = contract.input
    if not isinstance(spec, FeaturesInput):
        spec = replace(spec, colour="rgb" if spec.channels == 3 else "grey")
    return Dataset(
        name=contract.provenance.dataset,
        labels=contract.labels,
        input=spec,
        pixels=_pixels(run, spec, members),
        targets=run.targets.astype(np.uint8 if run.targets.ndim == 2 else np.int32),
        source=run.source,
        given=given,
        date=contract.provenance.date,
        task=contract.task,
    )


def _pixels(run: RunFolder, spec: Any, members: Indices) -> PixelStore:
    source = run.source
    if isinstance(source, FileSource):
        wanted = {bytes.fromhex(digest) for digest in source.digests(members)}
        return FilePixels(source, source.root, spec, open_cache("temporary", spec, wanted))
    if isinstance(source, VectorSource):
        return source.vectors
    assert isinstance(source, ArraySource)
    return array_pixels(source.images, spec)
