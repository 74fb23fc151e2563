"""What a detector costs and what the machine could do: multiply-adds, memory, latencies, measured peaks."""
