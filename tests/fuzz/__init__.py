"""Hostile models and images, thrown at the runtime in child processes; `python -m tests.fuzz --help`."""
