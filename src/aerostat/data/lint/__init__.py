"""What is wrong with annotated images, found before anybody trains on them."""
