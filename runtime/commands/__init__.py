"""The commands of a device, a module each; `runtime.cli` has the table."""
