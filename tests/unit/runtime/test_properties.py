"""Properties that hold for all contracts and all scores, tried on random ones."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from runtime import Confidence, Contract, ContractError, FeaturesInput, ImageInput, Prediction, Provenance, rank
from runtime.contract import CONTRACT_FORMAT, CONTRACT_VERSION, TASKS
from runtime.input_spec import COLOURS, FILTERS, RESIZES
from runtime.postprocessing import UNKNOWN, choose_labels

pytest.importorskip("hypothesis")  # not on a device
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.fast

tries = settings(max_examples=100, derandomize=True, deadline=None)

texts = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=20)
labels = st.lists(texts, min_size=2, max_size=8, unique=True).map(tuple)


def numbers(count: int, least: float, most: float) -> st.SearchStrategy[tuple[float, ...]]:
    return st.lists(st.floats(least, most), min_size=count, max_size=count).map(tuple) | st.just(())


@st.composite
def image_inputs(draw: st.DrawFn) -> ImageInput:
    colour = draw(st.sampled_from(sorted(COLOURS)))
    sides = st.integers(1, 4096)
    return ImageInput(
        draw(sides),
        draw(sides),
        colour,
        draw(st.sampled_from(RESIZES)),
        draw(st.sampled_from(FILTERS)),
        draw(st.tuples(*[st.integers(0, 255)] * 3)),
        draw(numbers(COLOURS[colour], 0, 255)),
        draw(numbers(COLOURS[colour], 1e-3, 1e6)),
    )


@st.composite
def features_inputs(draw: st.DrawFn) -> FeaturesInput:
    names = draw(labels)
    return FeaturesInput(names, draw(numbers(len(names), -1e30, 1e30)), draw(numbers(len(names), 1e-30, 1e30)))


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    names = draw(labels)
    return Contract(
        names,
        draw(image_inputs() | features_inputs()),
        draw(st.sampled_from(TASKS if len(names) == 2 else ("multiclass", "multilabel"))),
        Provenance(draw(texts), draw(st.integers()), "2024-05-01", draw(st.dictionaries(texts, texts, max_size=3))),
        confidence=Confidence(draw(st.floats(0.01, 100)), draw(st.floats(0, 1))),
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@tries
@given(contracts())
def test_a_contract_survives_its_json(contract: Contract) -> None:
    text = contract.to_json()
    assert Contract.from_json(text) == contract
    assert Contract.from_json(text.encode()).to_json() == text


def refuse_or_read(text: str | bytes) -> None:
    """Anything but a contract or a ContractError is a fault."""
    try:
        contract = Contract.from_json(text)
    except ContractError:
        return
    assert Contract.from_json(contract.to_json()) == contract


@tries
@given(json_values | st.dictionaries(st.text(max_size=10), json_values))
def test_arbitrary_json_is_refused(value: Any) -> None:
    refuse_or_read(json.dumps(value))
    if isinstance(value, dict):
        refuse_or_read(json.dumps({**value, "format": CONTRACT_FORMAT, "version": CONTRACT_VERSION}))


@tries
@given(st.binary(max_size=50))
def test_arbitrary_bytes_are_refused(content: bytes) -> None:
    refuse_or_read(content)


@tries
@given(contracts(), st.data())
def test_a_contract_with_any_field_replaced_is_read_or_refused(contract: Contract, data: st.DataObject) -> None:
    document = json.loads(contract.to_json())
    place = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        place = inner
    place[key] = data.draw(json_values)
    refuse_or_read(json.dumps(document))


def plain_rank(
    scores: list[float], names: list[str], top: int, min_score: float, chosen: list[int], threshold: float
) -> list[Prediction]:
    """What `rank` must give, written down as its documentation says it."""
    order = sorted(chosen, key=lambda index: (-scores[index], index))[:top]
    best = scores[order[0]]
    if best < min_score or best < threshold:
        return [Prediction(UNKNOWN, best, -1)]
    return [Prediction(names[i], scores[i], i) for i in order if scores[i] >= min_score]


@tries
@given(st.data())
def test_ranking_is_what_its_documentation_says(data: st.DataObject) -> None:
    # Eighths, so that scores are often equal to each other and to the limits.
    eighths = st.integers(0, 8).map(lambda eighth: eighth / 8)
    scores = data.draw(st.lists(eighths, min_size=2, max_size=120))
    names = [f"label {number}" for number in range(len(scores))]
    allow = data.draw(st.none() | st.lists(st.sampled_from(names), min_size=1))
    deny = data.draw(st.lists(st.sampled_from(names), max_size=len(names) // 2))
    expected = [i for i, name in enumerate(names) if (allow is None or name in allow) and name not in deny]
    if not expected:
        with pytest.raises(ValueError, match="leave no label"):
            choose_labels(tuple(names), allow, deny)
        return
    chosen = choose_labels(tuple(names), allow, deny)
    assert expected == (list(range(len(names))) if chosen is None else chosen.tolist())
    top = data.draw(st.integers(1, len(names) + 1))
    min_score, threshold = data.draw(eighths), data.draw(eighths)
    found = rank(np.array(scores, np.float32), names, top, min_score, chosen, threshold)
    assert found == plain_rank(scores, names, top, min_score, expected, threshold)


@tries
@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=120), st.integers(1, 5))
def test_the_best_scores_come_first(scores: list[float], top: int) -> None:
    found = rank(np.array(scores, np.float32), [str(i) for i in range(len(scores))], top)
    assert [prediction.score for prediction in found] == sorted(scores, reverse=True)[:top]
    assert all(math.isclose(prediction.score, scores[prediction.index]) for prediction in found)
