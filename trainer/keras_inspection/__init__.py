"""Keras models looked into: archives checked before Keras loads them, the graph of layers, weights.

Imports the runtime and `trainer.errors`. `archive` imports Keras only to load a model.
"""
