"""Pictures for people: boxes on photographs, grids, curves. Plain arrays in, BGR images out."""
