"""`pocketlens export`: parses the options, makes one library call, and prints. Only here options have names.

Imports the rest of the exporter; nothing imports this room but the table of commands.
"""
