"""Writes TFLite metadata into a model file, for other tools, and makes C++ source from one.

Imports the runtime only.
"""
