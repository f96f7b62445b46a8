"""Colorize shots: learn their colours, colorize their segments, and keep what is done."""
