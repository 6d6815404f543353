"""The optimizers: Keras's own steps, bit for bit."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.config import TrainingConfig
from trainer.fitting.optimizers import make_optimizer

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
def test_the_weights_are_those_of_keras(name: str, kind: Any, rate: str, mixed: str) -> None:
    settings: dict[str, Any] = {"weight_decay": 0.05} if name == "adamw" else {}
    config = TrainingConfig(optimizer=name, mixed_precision=mixed, **settings)
    plain = kind(learning_rate=RATES[rate], **settings)
    if name == "adamw":
        plain.exclude_from_weight_decay(var_names=("bias", "gamma", "beta", "gain"))
    if mixed == "on":
        plain = keras.optimizers.LossScaleOptimizer(plain)
    wanted, found = weights_after_steps(plain), weights_after_steps(make_optimizer(config, RATES[rate]))
    assert all(np.array_equal(one, other) for one, other in zip(wanted, found, strict=True))


def test_the_learning_rate_is_computed_once_a_step() -> None:
    class Counted(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
        calls = 0

        def __call__(self, step: Any) -> Any:
            Counted.calls += 1
            return 0.1 / tf.cast(step + 1, tf.float32)

        def get_config(self) -> dict[str, Any]:
            return {}

    weights_after_steps(make_optimizer(TrainingConfig(optimizer="adamw"), Counted()))
    assert Counted.calls == 1, "once, in the only trace"


def test_a_constant_learning_rate_can_be_set() -> None:
    optimizer = make_optimizer(TrainingConfig(optimizer="adamw"), 0.1)
    optimizer.learning_rate = 0.25
    assert float(optimizer.learning_rate) == 0.25
