"""From an image to detections: sources, engines, views."""
