"""Benchmark of a detector on this machine: latency, multiply-adds, memory."""
