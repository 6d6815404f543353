"""The commands of a device, a module each; `runtime.cli.main` has the table."""
