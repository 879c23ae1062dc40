"""A page to drop a video on."""
