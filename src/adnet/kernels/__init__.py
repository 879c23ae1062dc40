"""Faster ways to compute the same as PyTorch's layers."""
