"""The TensorFlow Lite file format, read and checked without an interpreter; which operators it has, and what they cost.

Imports only the runtime's own modules, and none of `runtime.cli`, `runtime.external` and `runtime.watch`.
"""
