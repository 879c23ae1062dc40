"""Runs pooled over seeds, intervals and paired tests."""
