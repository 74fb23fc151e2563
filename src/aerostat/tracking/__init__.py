"""Tracking: identities of objects over the frames of a video, and what is counted of them."""
