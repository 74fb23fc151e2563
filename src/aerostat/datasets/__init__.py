"""Annotated images: reading, writing, converting, and what was wrong with them."""
