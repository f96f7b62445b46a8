"""Image files: read into a `Photo` and written again, with all that they say."""
