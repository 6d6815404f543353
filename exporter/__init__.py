"""Converts a trained run to float and int8 TensorFlow Lite and checks the accuracy drop.

Imports nothing heavy by itself: `exporter.scoring` runs in a process that never imports TensorFlow.
"""
