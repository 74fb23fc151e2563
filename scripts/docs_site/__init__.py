"""The parts of `scripts/build_site.py`: navigation, pages with their links, generated reference, checks."""
