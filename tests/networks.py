"""Untrained networks whose features are as large as a trained one's."""

from __future__ import annotations

import torch
from torch import nn

from adnet.models import ADNet


def settle(model: ADNet, size: tuple[int, int]) -> ADNet:
    """Let the batch norms of `model` learn in one step how small its features are; in eval mode."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(*torch.rand(2 + (model.motion is not None), 4, 3, *size))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.num_batches_tracked.zero_()  # as in a network that has learnt nothing yet
    return model.eval()
