"""Recovery of int8 models that lose too much: strategies, and the search for the first that passes the gates.

It imports the exporter's rooms below `export`, and Keras and TensorFlow.
"""
