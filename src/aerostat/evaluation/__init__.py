"""Evaluation of a detector: the COCO protocol, kinds of error, label issues and advice."""
