"""Drawn sample data."""
