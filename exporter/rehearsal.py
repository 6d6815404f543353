"""Makes the rehearsal of a model file: what `pocketlens teach` must know of the run's pictures, in a few bytes.

The file itself computes the embeddings, in an interpreter as on a device. This module imports no TensorFlow.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtime import Classifier, Contract
from runtime.child_process import ChildError
from runtime.teaching.format import MAX_WITHIN, REHEARSAL_NAME, Rehearsal, directions
from runtime.thread_map import ordered_map
from trainer.evaluation.worker import decoded_samples, device_classifier, refuse_tensorflow

from .errors import ExportError
from .representative_dataset import choose_evenly, choose_representatives
from .scoring import SplitScorer

#: Training pictures of a class whose mean is its prototype, and of all classes together, at most.
_PICTURES, _ALL_PICTURES = 50, 4000
#: Training pictures of a class that measure the scatter, and bytes of all of them, at most.
_WITHIN, _WITHIN_BYTES = 15, 512 * 1024
#: Validation pictures of a class whose embeddings are kept, and bytes of all of them, at most.
_KEPT, _KEPT_BYTES = 60, 512 * 1024
_PROTOTYPE_BYTES = 4 * 2**20
_BYTES_A_VALUE = 2


def make_rehearsal_member(scorer: SplitScorer, model: Path, contract: Contract, name: str) -> dict[str, bytes]:
    """The archive member with the rehearsal of a file, by its name.

    Args:
        model: the FlatBuffer, in a file.
        contract: names the embedding.
        name: of the recipe, for messages.

    Raises:
        ExportError: a class has no training sample, the classes are too many, or no interpreter runs the model.
    """
    run, labels = scorer.run, contract.labels
    chosen = choose_representatives(run, min(_PICTURES * len(labels), _ALL_PICTURES), contract.provenance.seed)
    chosen = chosen[run.targets[chosen] >= 0]  # a folder of calibration images need not say their classes
    targets = run.targets[chosen].tolist()
    missing = [label for place, label in enumerate(labels) if place not in targets]
    if missing:
        raise ExportError(
            f"`embedding` needs training {contract.input.noun} of each class, and {missing[0]!r} has none among "
            f"{len(targets):,}; give each class a folder of them, or leave it out"
        )
    kept = choose_evenly(run, "validation", _KEPT * len(labels), contract.provenance.seed)
    kept = kept[run.targets[kept] >= 0]
    targets += run.targets[kept].tolist()
    samples = scorer.chosen_samples("rehearsal", np.concatenate([chosen, kept]))
    out = scorer.worker.folder / REHEARSAL_NAME
    arguments = (str(model), contract.to_json(), scorer.library, str(samples), targets, len(kept), str(out))
    try:
        scorer.worker.submit(f"{__name__}:write_rehearsal", *arguments).result()
    except ChildError as error:
        raise ExportError(f"{name}: the classes' embeddings cannot be computed: {error}") from error
    return {REHEARSAL_NAME: out.read_bytes()}


def write_rehearsal(
    model: str, contract: str, library: str, samples: str, targets: list[int], held_out: int, out: str
) -> None:
    """Compute the embeddings of samples and write the rehearsal as JSON; the scoring worker calls this.

    Args:
        samples: their folder, of `ScoringWorker.add_samples`.
        targets, held_out: as for `rehearse`.

    Raises:
        ExportError: the prototypes take too many bytes.
    """
    classifier = device_classifier(model, contract, library)
    found = rehearse(classifier, decoded_samples(samples, classifier.contract.input), targets, held_out)
    refuse_tensorflow()
    Path(out).write_bytes(found.to_json())


def rehearse(classifier: Classifier, samples: Any, targets: Sequence[int], held_out: int = 0) -> Rehearsal:
    """The rehearsal that a model gives.

    Args:
        samples: as a model takes them, by their numbers; each with an axis for the batch. Training samples come first,
            then those that the network was not trained on; in each part the classes take turns.
        targets: the class of each.
        held_out: how many of them the network was not trained on. Without any, training samples take their place.

    Raises:
        ExportError: the prototypes take too many bytes.
    """
    scale, rows = classifier.preprocessor.scale, range(len(targets))
    found = [*ordered_map(lambda row: classifier.run_both(scale(samples[row])), rows, os.cpu_count() or 1)]
    scores, embeddings = np.stack([pair[0] for pair in found]), np.stack([pair[1] for pair in found])
    classes, size, trained = scores.shape[1], embeddings.shape[1], len(targets) - held_out
    if classes * size * _BYTES_A_VALUE > _PROTOTYPE_BYTES:
        raise ExportError(
            f"`embedding`: the prototypes of {classes:,} classes with {size:,} values each take more than "
            f"{_PROTOTYPE_BYTES // 2**20} MiB; leave it out"
        )
    mean = embeddings[:trained].mean(axis=0, dtype=np.float64).astype(np.float32)
    vectors, numbers = directions(embeddings, mean), np.array(targets)
    prototypes = np.stack([vectors[:trained][numbers[:trained] == place].mean(axis=0) for place in range(classes)])
    counts = np.bincount(numbers[:trained], minlength=classes)
    measured = slice(min(_WITHIN * classes, trained, MAX_WITHIN, _WITHIN_BYTES // (_BYTES_A_VALUE * size)))
    first = trained if held_out else 0
    kept = slice(first, first + min(_KEPT * classes, _KEPT_BYTES // (_BYTES_A_VALUE * size)))
    return Rehearsal(
        mean,
        prototypes,
        tuple(counts.tolist()),
        vectors[measured] - prototypes[numbers[measured]],
        vectors[kept],
        scores[kept],
        tuple(numbers[kept].tolist()),
        held_out=bool(held_out),
    )
