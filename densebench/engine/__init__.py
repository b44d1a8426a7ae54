"""Training: optimizer groups, starting weights, checkpoints, the console."""
