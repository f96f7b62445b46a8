"""Recipes: everything that defines a training run.

Importing it imports no torch; parsing a recipe imports the parts that it names.
"""
