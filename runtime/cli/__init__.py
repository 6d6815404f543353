"""The command `pocketlens` and the device's subcommands: each parses its options, makes one library call and prints.

This is the runtime's top: it may import all of the runtime, and only commands import it.
"""
