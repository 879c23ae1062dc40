"""Dilated depthwise convolution that is fast on a CPU, in training above all."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DilatedDepthwiseConv2d(nn.Conv2d):
    """A stride-1 "same" depthwise convolution with dilation d, computed on a CPU as d x d undilated ones.

    Pixels that are d apart never meet their neighbours in between, so each of the d x d sub-grids is convolved by itself
    (space to batch). oneDNN has a fast gradient for the undilated depthwise convolution only. Other devices take the
    usual way. Parameters and results are those of `nn.Conv2d`.
    """

    @classmethod
    def replace(cls, module: nn.Module) -> None:
        """Turn every such convolution inside `module` into one of this class, in place."""
        for conv in module.modules():
            if (
                type(conv) is nn.Conv2d
                and conv.groups == conv.in_channels == conv.out_channels
                and conv.dilation[0] == conv.dilation[1] > 1
                and conv.stride == (1, 1)
                and conv.padding
                == tuple(d * (k - 1) // 2 for d, k in zip(conv.dilation, conv.kernel_size, strict=True))
            ):
                conv.__class__ = cls

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name in nn.Conv2d)
        if input.device.type != "cpu":
            return super().forward(input)
        d = self.dilation[0]
        batch, channels, height, width = input.shape
        rows, columns = -(-height // d), -(-width // d)
        grid = F.pad(input, (0, columns * d - width, 0, rows * d - height)).permute(0, 2, 3, 1)
        grid = grid.reshape(batch, rows, d, columns, d, channels).permute(0, 2, 4, 5, 1, 3)
        grid = grid.reshape(batch * d * d, channels, rows, columns).contiguous(memory_format=torch.channels_last)
        padding = tuple((k - 1) // 2 for k in self.kernel_size)
        out = F.conv2d(grid, self.weight, self.bias, 1, padding, 1, self.groups).permute(0, 2, 3, 1)
        out = out.reshape(batch, d, d, rows, columns, channels).permute(0, 3, 1, 4, 2, 5)
        return out.reshape(batch, rows * d, columns * d, channels)[:, :height, :width].permute(0, 3, 1, 2)
