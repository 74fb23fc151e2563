"""Training samples: random draws, layout, rendering, batches."""
