"""Formats of which Pillow does not read all: their pixels, colours and metadata."""
