"""Drawings of figures that were computed elsewhere; the same figures give the same bytes.

Imports the runtime, matplotlib, and values of `trainer.data`, `trainer.evaluation` and `trainer.keras_inspection`.
"""
