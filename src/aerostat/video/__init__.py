"""Moving pictures: clips, cameras, streams, animations and pages in; video files out."""
