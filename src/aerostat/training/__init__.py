"""Training: recipe, schedule, EMA and the loop."""
