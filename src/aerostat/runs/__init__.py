"""The directory of a run: file names and metrics."""
