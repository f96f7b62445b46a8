"""Photographs in files: reading, writing, and metadata."""
