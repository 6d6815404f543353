"""The self-test that a model file carries: its format, and the runner that compares this machine with the workstation.

Imports only the runtime's own modules, and none of `runtime.cli` and `runtime.watch`.
"""
