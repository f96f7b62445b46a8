"""Metrics, and tables and contact sheets of what was measured."""
