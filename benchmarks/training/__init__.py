"""Measures the speed and memory of training: `make bench-train`. Each module has a function `rows(rounds)`."""
