"""Generators, discriminators and pretrained networks."""
