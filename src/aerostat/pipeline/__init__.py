"""Training samples: drawing, laying out, rendering, loading."""
