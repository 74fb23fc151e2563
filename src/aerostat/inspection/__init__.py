"""Inspection of a data set before training: pictures of its images and plots of its figures."""
