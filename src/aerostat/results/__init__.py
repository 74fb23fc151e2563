"""Detections, and their files."""
