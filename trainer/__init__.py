"""Builds and fits a Keras classifier: from images to a run folder. Imports nothing heavy by itself."""
