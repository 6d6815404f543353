"""The fake interpreter for other people's tests."""

from __future__ import annotations

import numpy as np
import pytest

from runtime import ContractError
from runtime.testing import FakeInterpreter

pytestmark = pytest.mark.fast

PICTURE = np.full((8, 8, 3), 51, np.uint8)


def test_it_answers_in_turn_and_remembers_what_it_saw() -> None:
    fake = FakeInterpreter(["cat", "dog", "bird"], [[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    classifier = fake.classifier()
    assert [classifier.classify(PICTURE)[0].label for _ in range(3)] == ["cat", "bird", "cat"]
    assert len(fake.inputs) == 3
    np.testing.assert_allclose(fake.inputs[0], 0.2)


def test_it_resizes_as_a_model_would() -> None:
    fake = FakeInterpreter(["a", "b"], [[1, 0]], size=(4, 6), colour="grey")
    fake.classifier().classify(PICTURE)
    assert fake.inputs[0].shape == (1, 4, 6, 1)


def test_answers_that_do_not_fit_the_labels() -> None:
    for answers in ([], [[1.0]], [[1, 0], [1]]):
        with pytest.raises(ValueError, match="2 scores"):
            FakeInterpreter(["a", "b"], answers)
    with pytest.raises(ContractError):
        FakeInterpreter(["a"], [[1]])
