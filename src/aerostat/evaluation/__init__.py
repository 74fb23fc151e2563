"""How good a detector is: the COCO protocol."""
