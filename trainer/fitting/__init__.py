"""The parts of a training: batches, augmentation, loss and metrics, phases, optimizers, callbacks, checkpoints.

May import `data`, `models`, `config` and `contract`; never `session` or what stands above it.
"""
