"""Training on several GPUs or machines, to the same run folder. Imports nothing of the trainer but its errors."""
