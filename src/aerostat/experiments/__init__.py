"""Studies: recipes over seeds and folds, and whether a difference is noise."""
