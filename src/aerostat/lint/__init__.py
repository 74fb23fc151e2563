"""What is wrong with images and annotations."""
