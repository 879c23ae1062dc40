"""Runs, evaluations and published numbers, read from disk."""
