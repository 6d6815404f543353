"""Tries hostile models and images on the runtime, in child processes; see `python -m fuzz --help`."""
