"""The peak memory of a training step on a GPU, predicted without one."""
