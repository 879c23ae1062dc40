"""Prepare a network for fast inference."""

from __future__ import annotations

import copy

import torch

from adnet.models import ADNet
from adnet.models.backbone import fold_batch_norms


def for_inference(model: ADNet) -> ADNet:
    """Copy `model` for inference only, on its device, in eval mode: the same logits up to float32 rounding.

    The copy has no auxiliary head, batch norms folded into the convolutions before them, and channels-last weights.
    """
    model = copy.deepcopy(model).eval()
    model.aux = None
    folded = copy.deepcopy(model)
    frame = torch.rand(1, 3, 65, 65, device=model.device)
    if fold_batch_norms(folded, lambda: folded(frame, frame)):
        model = folded
    return model.requires_grad_(False).to(memory_format=torch.channels_last)
