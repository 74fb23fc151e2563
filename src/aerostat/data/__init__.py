"""Annotated images: one in-memory form, its readers and writers, pictures, augmentation, sample data."""
