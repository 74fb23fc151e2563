"""Weights files: reading, writing, downloading."""
