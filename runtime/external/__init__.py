"""Models that Pocketlens did not make: gets them a contract, and tries them before they are trusted.

Imports only the runtime's own modules, and none of `runtime.cli` and `runtime.watch`.
"""
