"""The decoder: from the fusion head's features at stride 8 to logits at stride 2. Beyond the paper."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adnet.models.encoder import conv_norm_act

REDUCED, WIDTHS = (48, 16), (64, 32)
"""Channels at stride 4 and at stride 2: of the reduced backbone features, and after mixing."""


class Decoder(nn.Module):
    """Sharpen features of stride 8 with the backbone's shallow ones, as DeepLabv3+ does (Chen et al., arXiv:1802.02611).

    Twice, at stride 4 and at stride 2: upsample, concatenate the backbone's features of that stride (reduced by a 1x1
    convolution so that they don't outweigh the others), and mix by a 3x3 convolution. A last 1x1 convolution gives the logit.

    Args:
        in_channels: channels of the features at stride 8.
        shallow_channels: channels of the backbone's features at stride 4 and at stride 2.
    """

    def __init__(self, in_channels: int, shallow_channels: Sequence[int]) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(map(conv_norm_act, shallow_channels, REDUCED, (1, 1)))
        inputs = (in_channels + REDUCED[0], WIDTHS[0] + REDUCED[1])
        self.mix = nn.ModuleList(map(conv_norm_act, inputs, WIDTHS, (3, 3)))
        self.logit = nn.Conv2d(WIDTHS[-1], 1, 1)

    def forward(self, features: Tensor, shallow: Sequence[Tensor]) -> Tensor:
        """Decode features `[B, C, h, w]` with the shallow ones, stride 4 first, to logits `[B, 1, 4h - 3, 4w - 3]`."""
        for reduce, mix, fine in zip(self.reduce, self.mix, shallow, strict=True):
            upsampled = upsample(features, (fine.shape[-2], fine.shape[-1]))
            features = mix(torch.cat([upsampled, reduce(fine)], dim=1))
        return self.logit(features)


def upsample(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize `[B, K, h, w]` to `[B, K, H, W]`, bilinearly with aligned corners, as the published code always does.

    Examples:
        >>> upsample(torch.tensor([[[[0.0, 1.0]]]]), (1, 3)).tolist()
        [[[[0.0, 0.5, 1.0]]]]
    """
    return F.interpolate(features, size, mode="bilinear", align_corners=True)
