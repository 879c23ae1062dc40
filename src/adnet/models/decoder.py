"""The decoder: from the fusion head's features at stride 8 to logits at stride 2. Beyond the paper."""

from collections.abc import Sequence
from functools import lru_cache

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
        for mix in self.mix:
            mix[0].__class__ = ConcatenatedConv2d  # type: ignore[index]
        self.logit = nn.Conv2d(WIDTHS[-1], 1, 1)

    def forward(self, features: Tensor, shallow: Sequence[Tensor]) -> Tensor:
        """Decode features `[B, C, h, w]` with the shallow ones, stride 4 first, to logits `[B, 1, 4h - 3, 4w - 3]`."""
        for reduce, mix, fine in zip(self.reduce, self.mix, shallow, strict=True):
            convolution, *others = mix.children()
            features = convolution(features, reduce(fine))
            for layer in others:
                features = layer(features)
        return self.logit(features)


class ConcatenatedConv2d(nn.Conv2d):
    """A 3x3 convolution of `[B, C, h, w]`, upsampled to the size of `[B, D, H, W]`, and of the latter: `[B, K, H, W]`.

    On a CPU, if it takes less than half of the operations, the small features are multiplied by the kernel's nine matrices before
    they are upsampled: what remains of upsampling and shifting is a product with a matrix for each axis.
    """

    def forward(self, small: Tensor, large: Tensor) -> Tensor:  # type: ignore[override]
        (batch, channels, h, w), (height, width) = small.shape, large.shape[-2:]
        number = self.out_channels
        others = small.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if others or 9 * h * w * (channels + width) + 3 * height * width * h > 4.5 * height * width * channels:
            return super().forward(torch.cat([upsample(small, (height, width)), large], dim=1))
        kernel = self.weight[:, :channels].permute(3, 2, 0, 1).reshape(9 * number, channels)
        terms = F.linear(small.permute(0, 2, 3, 1), kernel).reshape(batch * h, 3 * w, 3 * number)
        across, down = (_shifted(*sides).to(terms) for sides in ((w, width), (h, height)))
        rows = torch.bmm(across.expand(batch * h, *across.shape), terms).view(batch, h, width, 3, number)
        rows = rows.transpose(2, 3).reshape(batch, 3 * h, width * number)
        of_small = torch.bmm(down.expand(batch, *down.shape), rows).view(batch, height, width, number)
        of_large = F.conv2d(large, self.weight[:, channels:], self.bias, padding=1)
        return of_large + of_small.permute(0, 3, 1, 2)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
@torch.no_grad()
def _shifted(size: int, upsampled: int) -> Tensor:
    """Return the matrix `[upsampled, 3 size]` that upsamples three signals, interleaved, and adds them shifted by 1, 0 and -1."""
    matrix = upsample(torch.eye(size, dtype=torch.float64)[None, None], (upsampled, size))[0, 0]
    padded = F.pad(matrix, (0, 0, 1, 1))
    return torch.stack([padded[shift : shift + upsampled] for shift in range(3)], dim=-1).flatten(1)


def upsample(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize `[B, K, h, w]` to `[B, K, H, W]`, bilinearly with aligned corners, as the published code always does.

    Examples:
        >>> upsample(torch.tensor([[[[0.0, 1.0]]]]), (1, 3)).tolist()
        [[[[0.0, 0.5, 1.0]]]]
    """
    return F.interpolate(features, size, mode="bilinear", align_corners=True)
