"""Sweeps: many jobs of an entry point, each in its own process and folder, with any launcher."""
