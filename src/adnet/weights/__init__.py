"""Trained weights as files: read safely, in folders of our own, from the hub and from torchvision."""
