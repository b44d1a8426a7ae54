"""What a model costs: parameters, multiply-adds, latency, memory."""
