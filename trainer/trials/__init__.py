"""Trials of a search, trained in a child process that keeps TensorFlow loaded between them. They never measure test.

`whole` alone does, for the chosen one. May import all of `trainer` but `cli`; `exporter.search` calls these functions
by their names.
"""
