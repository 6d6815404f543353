"""The search for the best network under a budget: what is tried, what it may cost, and which trials are trained on.

May import `exporter`'s modules, `trainer.config`, `trainer.presets`, `trainer.pages`, Optuna and SQLAlchemy. A trial is
trained in a child process.
"""
