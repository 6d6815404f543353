"""Quantization-aware training: batch normalization folded, the converter's rounding simulated, the weights trained on.

tensorflow-model-optimization does not support Keras 3. The result is a plain Keras model that the exporter quantizes as
any other: the simulation uses the converter's scales and zero points, so only the weights are different.
May import `fitting`, `models`, `config` and `keras_inspection`.
"""
