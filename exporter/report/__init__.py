"""The documents of an export: values for `report.json`, `report.html` and the model card from templates, and plots.

Imports the exporter's values (models, gates), `trainer.evaluation`, `trainer.plots`, and the runtime.
"""
