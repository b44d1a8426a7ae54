"""What is known of models: records of our runs, and published results."""
