"""Measure speed, and check a GPU."""
