"""The decoder: from the fusion head's features to logits at a quarter of the stride. Beyond the paper."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

REDUCED, WIDTHS = (48, 16), (64, 32)
"""Channels at stride 4 and at stride 2: of the backbone's features once reduced, and of the joined features."""


class Decoder(nn.Module):
    """Sharpen features of stride 8 with the backbone's shallow ones, as DeepLabv3+ (Chen et al., arXiv:1802.02611) does.

    Twice, at stride 4 and at stride 2: upsample, join the backbone's features of that stride (1x1 to few channels, so that
    they don't outweigh the others), and mix by a 3x3 convolution. A 1x1 convolution then gives the logit.

    Args:
        in_channels: of the features at stride 8.
        shallow_channels: of the backbone's features at stride 4 and at stride 2.
    """

    def __init__(self, in_channels: int, shallow_channels: Sequence[int]) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(
            _conv_norm_act(channels, reduced, 1) for channels, reduced in zip(shallow_channels, REDUCED, strict=True)
        )
        inputs = (in_channels, *WIDTHS)
        self.mix = nn.ModuleList(
            _conv_norm_act(inputs[step] + REDUCED[step], WIDTHS[step], 3) for step in range(len(WIDTHS))
        )
        self.logit = nn.Conv2d(WIDTHS[-1], 1, 1)

    def forward(self, features: Tensor, shallow: Sequence[Tensor]) -> Tensor:
        """Features `[B, C, h, w]` and the shallow ones, stride 4 first -> logits `[B, 1, 4h - 3, 4w - 3]`."""
        for reduce, mix, fine in zip(self.reduce, self.mix, shallow, strict=True):
            upsampled = interpolate(features, fine.shape[-2:], mode="bilinear", align_corners=True)
            features = mix(torch.cat([upsampled, reduce(fine)], dim=1))
        logits: Tensor = self.logit(features)
        return logits


def _conv_norm_act(in_channels: int, channels: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.LeakyReLU(0.01),
    )
