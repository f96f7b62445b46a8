"""Metrics, evaluation of models on data sets, and tables and image grids of the results."""
