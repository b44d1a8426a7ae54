"""What a model costs: parameters, multiply-adds, latency, memory."""

MEASUREMENTS = ("params", "flops", "latency", "memory")
