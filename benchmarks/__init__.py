"""What this project claims about speed and memory, measured side by side: ``python -m benchmarks``."""
