"""Boxes, polygons, suppression and fusion: arrays in, arrays out, without torch."""
