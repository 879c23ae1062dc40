"""Prepare a network for fast inference, in PyTorch and in other runtimes."""

from __future__ import annotations

import copy

import torch
from timm.layers import AvgPool2dSame, Conv2dSame, to_2tuple
from torch import Tensor, nn
from torch.nn import functional as F

from adnet.models import ADNet
from adnet.models.depthwise import DepthwiseConv2d, DepthwiseConv2dSame
from adnet.models.faster_layers import fold_batch_norms


def optimised(model: ADNet) -> ADNet:
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


def portable(model: ADNet) -> ADNet:
    """Copy `model` to the CPU for other runtimes: standard operators only, the same logits for frames of any size."""
    model = optimised(copy.deepcopy(model).cpu())
    for module in model.modules():
        module.__class__ = _STANDARD.get(type(module), type(module))
    return model


class _Conv2d(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name in nn.Conv2d)
        x = _padded(input, self.kernel_size, self.stride, self.dilation)
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class _AvgPool2d(nn.AvgPool2d):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name in nn.AvgPool2d)
        kernel, stride = to_2tuple(self.kernel_size), to_2tuple(self.stride)
        return F.avg_pool2d(_padded(input, kernel, stride), kernel, stride)


_STANDARD: dict[type[nn.Module], type[nn.Module]] = {
    DepthwiseConv2d: nn.Conv2d,
    DepthwiseConv2dSame: _Conv2d,
    Conv2dSame: _Conv2d,
    AvgPool2dSame: _AvgPool2d,
}
"""Layer -> one that computes the same and that exporters understand."""


def _padded(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...] = (1, 1)) -> Tensor:
    """Pad `[B, C, H, W]` as TensorFlow does, with integer arithmetic alone: exporters reason for minutes about timm's.

    It depends on the size: at output stride 16, sides of 8k + 1 lead to odd and to even ones, where one less goes before.
    A kernel must be 1 or at least its stride.
    """
    padding: list[int] = []
    for axis in (-1, -2):
        extent = dilation[axis] * (kernel[axis] - 1)
        total = extent - (x.shape[axis] - 1) % stride[axis] if extent else 0
        padding += [total // 2, total - total // 2]
    return F.pad(x, padding)
