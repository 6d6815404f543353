"""The workstation's commands, a module each: it parses options, calls the library, and prints.

Imports anything of the trainer and `runtime.cli`; only the table of commands in `runtime.cli.main` imports it.
"""
