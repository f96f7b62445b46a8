"""Recipes: everything that defines a training run. Imports no torch."""
