"""Untrained networks whose features are as large as a trained one's."""

from __future__ import annotations

import torch
from torch import nn

from adnet.models import ADNet


def settle(model: ADNet, size: tuple[int, int]) -> ADNet:
    """Let the batch norms of `model` learn in one step how small its features are; in eval mode."""
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 1.0
    with torch.no_grad():
        model.train()(*torch.rand(2 + (model.motion is not None), 4, 3, *size))
    return model.eval()
