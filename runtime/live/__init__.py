"""Answers on frames as they come: states instead of single answers, a motion gate, statistics, and the loop.

These modules may import the runtime's modules except `cli`, `watch` and `serve`.
"""
