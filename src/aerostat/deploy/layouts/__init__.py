"""Tensor contracts of exported files for other runtimes: a module for each, and what they share."""
