"""Accuracy on several data sets: seeds of the recipe that `train` chooses by itself."""
