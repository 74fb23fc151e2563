"""Detectors for other places: exported files, in float32 and INT8, checked against the original."""
