"""What is written into a model file or made of one: TFLite metadata for other tools, and C++ source.

Imports the runtime only.
"""
