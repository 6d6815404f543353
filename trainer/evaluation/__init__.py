"""Measuring a model: evaluation sets, scores, metrics, intervals, comparison and calibration of scores.

Imports the runtime and `trainer.data`. Nothing here imports TensorFlow before a Keras model is scored.
"""
