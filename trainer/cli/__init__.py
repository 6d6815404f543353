"""The workstation's commands for looking: a module each, which parses, makes one call, and prints."""
