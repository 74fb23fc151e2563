"""Image files in, pixels out; the letterbox; reading ahead."""
