"""One loader for each kind of data set; each returns a `Dataset`. Imports the modules of `trainer.data` above it."""
