"""Fine-tuning for int8: batch normalization folded, the converter's rounding simulated, the weights trained on.

tensorflow-model-optimization does not support Keras 3. What comes out is a plain Keras model, which the ordinary
exporter quantizes after training: the simulation does what the converter will do (same scales, same zero points), so
nothing but better weights needs to be handed on.
"""

from .fine_tuning import Tuned, check
from .phase import after_training

__all__ = ["Tuned", "after_training", "check"]
