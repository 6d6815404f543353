"""Hostile models and images, thrown at the runtime in child processes; `python -m fuzz --help`."""
