"""Finds faults that show only after a long time: threads that disturb each other, and memory that leaks."""
