"""What a training is made of: batches, phases, callbacks, checkpoints, devices."""
