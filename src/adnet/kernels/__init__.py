"""Faster ways to compute what PyTorch's layers do."""
