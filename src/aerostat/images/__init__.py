"""Image files as pixels: reading, limits, resizing, the letterbox, prefetching."""
