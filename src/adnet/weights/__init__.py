"""Trained weights as files: read safely, from folders of adnet's, from the hub and from torchvision."""
