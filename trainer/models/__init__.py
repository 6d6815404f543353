"""The networks: what is built, and from which weights."""
