"""Trials of a search, trained in a child process that keeps TensorFlow loaded between them. They never measure test.

May import all of `trainer` but `cli` and `run_writer`; `exporter.search` calls these functions by their names.
"""
