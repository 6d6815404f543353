"""The TensorFlow Lite file format, read, checked and written without an interpreter; its operators and their cost.

Imports only the runtime's own modules, and none of `runtime.cli`, `runtime.external` and `runtime.watch`.
"""
