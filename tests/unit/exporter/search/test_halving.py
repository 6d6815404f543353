"""Who is trained on: rungs, fronts, promotions as results come, and that no step is given twice."""

from __future__ import annotations

import pytest

from exporter.search.halving import (
    StepResult,
    TrialStep,
    best_trial,
    make_rungs,
    next_promotion,
    pareto_front,
    rank_trials,
)

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("epochs", "least", "rungs"),
    [(12, 1, (1, 4, 12)), (12, 2, (4, 12)), (27, 1, (1, 3, 9, 27)), (1, 1, (1,)), (2, 0, (2,)), (80, 3, (8, 26, 80))],
)
def test_rungs_end_with_the_whole_training(epochs: int, least: int, rungs: tuple[int, ...]) -> None:
    assert make_rungs(epochs, least=least) == rungs


def test_a_front_holds_those_that_nothing_surpasses() -> None:
    results = {
        0: StepResult(0.90, (50.0,)),
        1: StepResult(0.80, (20.0,)),
        2: StepResult(0.79, (21.0,)),  # surpassed by 1
        3: StepResult(0.90, (50.0,)),  # equal to 0: both stay
    }
    assert pareto_front(results) == [0, 1, 3]
    assert rank_trials(results) == [0, 3, 1, 2]


def test_two_of_three_are_the_most_accurate_and_the_third_is_the_next_of_the_front() -> None:
    results = {n: StepResult(0.9 - n / 100, (100.0 + n,)) for n in range(6)}
    results |= {6: StepResult(0.5, (10.0,)), 7: StepResult(0.4, (5.0,))}
    assert rank_trials(results) == [0, 1, 6, 2, 3, 7, 4, 5]


def test_of_equal_accuracies_the_lower_loss_is_the_better_one_before_the_bytes() -> None:
    results = {
        0: StepResult(0.9, (10.0,), 0.5),
        1: StepResult(0.9, (30.0,), 0.2),
        2: StepResult(0.9, (40.0,), 0.3),  # surpassed by 1
        3: StepResult(0.8, (20.0,), 0.1),
        4: StepResult(0.9, (5.0,)),  # of a version without losses
    }
    assert best_trial(results) == 1
    assert pareto_front(results) == [0, 1, 4]
    assert rank_trials(results) == [1, 2, 0, 4, 3]
    promoted = next_promotion({TrialStep(number, 1): result for number, result in results.items()}, (1, 3))
    assert promoted == TrialStep(1, 3)
    assert best_trial({}) is None


def test_a_third_of_a_rung_goes_on_and_each_once() -> None:
    rungs = (1, 3, 9)
    results = {TrialStep(n, 1): StepResult(n / 10, (1.0,)) for n in range(2)}
    assert next_promotion(results, rungs) is None  # too few to judge
    results |= {TrialStep(n, 1): StepResult(n / 10, (1.0,)) for n in range(2, 6)}
    first = next_promotion(results, rungs)
    assert first == TrialStep(5, 3)
    second = next_promotion(results, rungs, claimed={first})
    assert second == TrialStep(4, 3)
    assert next_promotion(results, rungs, claimed={first, second}) is None
    results |= {first: StepResult(0.7, (1.0,)), second: StepResult(0.6, (1.0,))}
    assert next_promotion(results, rungs) is None


def test_a_later_result_promotes_an_earlier_trial() -> None:
    results = {TrialStep(n, 1): StepResult(0.5 - n / 10, (1.0,)) for n in range(3)}
    assert next_promotion(results, (1, 3), claimed={TrialStep(0, 3)}) is None
    results |= {TrialStep(n, 1): StepResult(0.1, (1.0,)) for n in range(3, 6)}
    assert next_promotion(results, (1, 3), claimed={TrialStep(0, 3)}) == TrialStep(1, 3)


def test_the_highest_rung_comes_first_and_presets_go_on_in_any_case() -> None:
    results = {TrialStep(n, rung): StepResult(n / 10, (1.0,)) for n in range(3) for rung in (1, 3)}
    assert next_promotion(results, (1, 3, 9)) == TrialStep(2, 9)
    assert next_promotion({TrialStep(0, 1): StepResult(0.1, (1.0,))}, (1, 3), kept={0}) == TrialStep(0, 3)


def test_a_small_network_goes_on_beside_an_accurate_one() -> None:
    results = {TrialStep(n, 1): StepResult(0.9 + n / 1000, (100.0 + n,)) for n in range(5)}
    results |= {TrialStep(5, 1): StepResult(0.8, (10.0,)), TrialStep(6, 1): StepResult(0.7, (11.0,))}
    results |= {TrialStep(n, 1): StepResult(0.5, (200.0,)) for n in range(7, 18)}
    claimed = set[TrialStep]()
    for _ in range(6):
        step = next_promotion(results, (1, 3), claimed)
        assert step is not None
        claimed.add(step)
    assert {step.trial for step in claimed} == {0, 1, 2, 3, 4, 5}


def test_at_the_end_of_a_search_the_best_goes_on_even_where_there_are_few() -> None:
    results = {TrialStep(n, 1): StepResult(n / 10, (1.0,)) for n in range(2)}
    assert next_promotion(results, (1, 3), least=1) == TrialStep(1, 3)
    assert next_promotion(results, (1, 3), {TrialStep(1, 3)}, least=1) is None
