"""Sweeps: many jobs of an entry point, each in a process and a folder of its own, by whichever launcher."""
