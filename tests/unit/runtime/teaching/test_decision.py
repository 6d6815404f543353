"""The decision between taught classes and the network's own: what its margin follows from."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.teaching.decision import Trial
from runtime.teaching.format import Rehearsal, TaughtClass, unit

RNG = np.random.default_rng(0)
OWN, VALUES = 3, 16
CENTRES = unit(RNG.normal(size=(OWN + 1, VALUES)).astype(np.float32))


def near(centre: int, count: int, spread: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Directions of pictures of a class; a network knows pictures of little spread by heart."""
    return unit((CENTRES[centre] + spread * RNG.normal(size=(count, VALUES))).astype(np.float32))


def rehearsal(spread: float, held_out: bool, wrong: int = 0) -> Rehearsal:
    """Forty pictures a class, of which the network answers `wrong` wrongly; its prototypes are of other pictures."""
    prototypes = np.stack([near(place, 50, 0.05).mean(axis=0) for place in range(OWN)])
    targets = np.repeat(np.arange(OWN), 40)
    embeddings = np.concatenate([near(place, 40, spread) for place in range(OWN)])
    answers = np.where(np.arange(len(targets)) < wrong, 1, targets)
    scores = np.full((len(targets), OWN), 0.05, np.float32)
    scores[np.arange(len(targets)), answers] = 0.9
    within = embeddings[::4] - prototypes[targets[::4]]
    counts, numbers = (50,) * OWN, (*targets.tolist(),)
    return Rehearsal(np.zeros(VALUES, np.float32), prototypes, counts, within, embeddings, scores, numbers, held_out)


def taught() -> TaughtClass:
    scores = np.full((5, OWN), 1 / OWN, np.float32)
    return TaughtClass("taught", near(OWN, 5, 0.3), scores, np.zeros((5, 4), np.uint8))


def bias(found: Rehearsal) -> float:
    return Trial(found, [taught()]).fit()[0]


def test_pictures_that_the_network_does_not_know_widen_the_margin() -> None:
    assert bias(rehearsal(0.6, held_out=True)) > bias(rehearsal(0.05, held_out=True)) + 0.1


@pytest.mark.parametrize("held_out", [True, False])
def test_a_taught_class_wins_at_most_three_of_a_hundred_pictures_that_were_right(held_out: bool) -> None:
    found = rehearsal(0.6, held_out)
    trial = Trial(found, [taught()])
    margin, _ = trial.fit()
    won = trial.more[: len(found.targets), 0] > margin
    assert 0 < won.sum() <= 0.03 * len(found.targets)


def test_pictures_that_the_network_answers_wrongly_cost_nothing() -> None:
    few, many = rehearsal(0.6, True, wrong=0), rehearsal(0.6, True, wrong=40)
    assert bias(many._replace(embeddings=few.embeddings, prototypes=few.prototypes)) <= bias(few)
    everything = few._replace(scores=np.roll(few.scores, 1, axis=1))
    assert bias(everything) == 0


def test_pictures_that_count_in_their_prototype_are_compared_without_themselves() -> None:
    """Of one picture a class, the prototype is the picture: compared with itself, nothing would ever be lost."""
    one = rehearsal(0.3, True)
    first = [0, 40, 80]
    single = Rehearsal(
        one.mean,
        one.embeddings[first],
        (1,) * OWN,
        one.within,
        one.embeddings[first],
        one.scores[first],
        (0, 1, 2),
        False,
    )
    assert bias(single) > 1
    assert bias(single._replace(held_out=True)) < 0.5
