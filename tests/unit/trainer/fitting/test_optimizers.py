"""The optimizers: Keras's own steps, bit for bit."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.config import TrainingConfig
from trainer.errors import TrainingError
from trainer.fitting.optimizers import make_optimizer, scheduled_optimizer
from trainer.models import mixed_precision

SCHEDULE = keras.optimizers.schedules.CosineDecay(0.0, 8, warmup_target=0.01, warmup_steps=3)
RATES = {"constant": 0.01, "schedule": SCHEDULE}


def weights_after_steps(optimizer: Any) -> list[Any]:
    """The variables of a small model, and the optimizer's, after ten steps in a graph."""
    rng = np.random.default_rng(0)
    variables = [
        keras.Variable(rng.normal(size=shape).astype(np.float32), name=name)
        for name, shape in (("kernel", (3, 3, 4, 8)), ("bias", (8,)), ("gain", (8,)), ("other", (40, 10)))
    ]
    optimizer.build(variables)
    step = tf.function(lambda *gradients: optimizer.apply(gradients, variables))
    for _ in range(10):
        step(*[tf.constant(rng.normal(size=variable.shape).astype(np.float32)) for variable in variables])
    return [np.asarray(variable) for variable in (*variables, *optimizer.variables)]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("name", "kind"), [("adam", keras.optimizers.Adam), ("adamw", keras.optimizers.AdamW)])
@pytest.mark.parametrize("mixed", ["off", "on"])
def test_the_weights_are_those_of_keras(
    name: str, kind: Any, rate: str, mixed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A GPU, for which the loss is scaled.
    monkeypatch.setattr(mixed_precision, "precision_policy", lambda _: {"on": "mixed_float16"}.get(mixed, "float32"))
    settings: dict[str, Any] = {"weight_decay": 0.05} if name == "adamw" else {}
    config = TrainingConfig(optimizer=name, mixed_precision=mixed, **settings)
    plain = kind(learning_rate=RATES[rate], **settings)
    if name == "adamw":
        plain.exclude_from_weight_decay(var_names=("bias", "gamma", "beta", "gain"))
    if mixed == "on":
        plain = keras.optimizers.LossScaleOptimizer(plain)
    wanted, found = weights_after_steps(plain), weights_after_steps(make_optimizer(config, RATES[rate]))
    assert [float(np.abs(one - other).max()) for one, other in zip(wanted, found, strict=True)] == [0.0] * len(wanted)


class CountedRate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A schedule that counts how often it is part of a graph."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, step: Any) -> Any:
        self.calls += 1
        return 0.1 / tf.cast(step + 1, tf.float32)

    def get_config(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_number_of_the_step_and_its_rate_are_read_once(name: str) -> None:
    # Fails with a Keras whose optimizers read them by other names: the steps are then right, and slower.
    rate = CountedRate()
    optimizer = make_optimizer(TrainingConfig(optimizer=name), rate)
    variables = [keras.Variable(np.ones(4, np.float32)) for _ in range(20)]
    optimizer.build(variables)
    graph = tf.function(lambda *gradients: optimizer.apply(gradients, variables)).get_concrete_function(
        *[tf.ones(4)] * len(variables)
    )
    handles = {id(inner) for outer, inner in graph.graph.captures if outer is optimizer.iterations.value.handle}
    assert len(handles) == 1
    reads = [
        operation
        for operation in graph.graph.get_operations()
        if operation.type == "ReadVariableOp" and id(operation.inputs[0]) in handles
    ]
    # Keras's schedule reads it itself, and the counter's increment may: neither depends on the number of variables.
    assert len(reads) <= 3
    assert rate.calls == 1


def test_a_constant_learning_rate_can_be_set() -> None:
    optimizer = make_optimizer(TrainingConfig(optimizer="adamw"), 0.1)
    optimizer.learning_rate = 0.25
    assert float(optimizer.learning_rate) == 0.25


def rates(steps: int, **settings: Any) -> list[float]:
    """The learning rate of each step, with a highest rate of 1."""
    optimizer = scheduled_optimizer(TrainingConfig(learning_rate=1.0, **settings), steps)
    found = []
    for step in range(steps):
        optimizer.iterations.assign(step)
        found.append(float(optimizer.learning_rate))
    return found


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        pytest.param({}, [0, 1, 0.9932], id="cosine, by default after a warm-up of a twentieth"),
        pytest.param({"warmup": 0.0}, [1, 0.9938, 0.9755], id="cosine without warm-up"),
        pytest.param({"warmup": 0.1}, [0, 0.5, 1], id="cosine after a warm-up of two steps"),
        pytest.param({"schedule": "constant"}, [1, 1, 1], id="constant, without warm-up"),
        pytest.param({"schedule": "constant", "warmup": 0.1}, [0, 0.5, 1], id="constant after a warm-up"),
        pytest.param({"schedule": "exponential"}, [1, 0.01**0.05, 0.01**0.1], id="exponential"),
        pytest.param({"schedule": "exponential", "warmup": 0.05}, [0, 1, 0.01 ** (1 / 19)], id="exponential, warmed"),
    ],
)
def test_the_schedule_of_the_learning_rate(settings: dict[str, Any], wanted: list[float]) -> None:
    first, *_, last = found = rates(20, **settings)
    assert found[:3] == pytest.approx(wanted, abs=1e-4)
    assert first <= 1
    ends = {"cosine": 0.0, "constant": 1.0, "exponential": 0.0126}
    assert last == pytest.approx(ends[settings.get("schedule", "cosine")], abs=0.01)


def test_the_default_is_keras_cosine_to_the_last_bit() -> None:
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.0, 19, warmup_target=1, warmup_steps=1))
    found = rates(20)
    for step, rate in enumerate(found):
        optimizer.iterations.assign(step)
        assert float(optimizer.learning_rate) == rate


@pytest.mark.parametrize("warmup", [-0.1, 1.0, float("nan")])
def test_a_warm_up_is_a_share_of_the_steps(warmup: float) -> None:
    with pytest.raises(TrainingError, match="warmup"):
        TrainingConfig(warmup=warmup)


def test_the_warm_up_is_known_before_the_training() -> None:
    found = [TrainingConfig(schedule=schedule).warmup for schedule in ("cosine", "constant", "exponential")]
    assert found == [0.05, 0, 0]


def test_the_momentum_of_sgd_is_that_of_keras() -> None:
    wanted = weights_after_steps(keras.optimizers.SGD(0.01, momentum=0.9))
    found = weights_after_steps(make_optimizer(TrainingConfig(optimizer="sgd", momentum=0.9), 0.01))
    assert all(np.array_equal(one, other) for one, other in zip(wanted, found, strict=True))
