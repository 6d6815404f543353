"""The TensorFlow Lite file format, read and checked without an interpreter; what each interpreter knows of it."""
