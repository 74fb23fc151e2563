"""RTMDet object detection, lighter than air."""
