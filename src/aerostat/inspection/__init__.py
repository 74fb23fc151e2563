"""A data set as a person looks at it before training: pictures of its images and plots of its numbers."""
