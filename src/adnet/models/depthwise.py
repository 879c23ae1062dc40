"""Depthwise and pointwise convolutions that are fast on a CPU, above all in training."""

from typing import Any

import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution by oneDNN on a CPU, for which PyTorch with one thread takes it only if there is a dilation."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name in nn.Conv2d)
        dilation = 2 if input.device.type == "cpu" else 1  # of a single pixel
        return F.conv2d(input, self.weight, self.bias, 1, 0, dilation)


class DepthwiseConv2d(nn.Conv2d):
    """A stride-1 "same" depthwise convolution of any dilation; not on a CPU, it is computed as by `nn.Conv2d`."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name in nn.Conv2d)
        if input.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(input)
        padding = (self.kernel_size[0] - 1) // 2, (self.kernel_size[1] - 1) // 2
        return _depthwise(self, input, 1, padding, self.dilation[0])


class DepthwiseConv2dSame(Conv2dSame):  # type: ignore[misc]
    """A depthwise convolution with stride and TensorFlow's padding; not on a CPU, it is computed as by timm.

    Where the padding is symmetric, as for sides of 16k + 1, the input isn't copied to pad it.
    """

    def forward(self, x: Tensor) -> Tensor:
        padding = tuple(
            k - 1 - (side - 1) % step for k, step, side in zip(self.kernel_size, self.stride, x.shape[2:], strict=True)
        )
        if x.device.type != "cpu" or any(total < 0 or total % 2 for total in padding):
            return super().forward(x)
        return _depthwise(self, x, self.stride[0], (padding[0] // 2, padding[1] // 2), 1)


def with_fast_convolutions(module: nn.Module) -> None:
    """Convert every convolution inside `module` that these classes can compute, in place."""
    for conv in module.modules():
        if not isinstance(conv, nn.Conv2d):
            continue
        kind = conv.kernel_size, conv.stride, conv.padding, conv.groups
        if type(conv) is nn.Conv2d and kind == ((1, 1), (1, 1), (0, 0), 1):
            conv.__class__ = PointwiseConv2d
        if not conv.groups == conv.in_channels == conv.out_channels:
            continue
        dilation, stride = conv.dilation[0], conv.stride[0]
        if type(conv) is Conv2dSame and conv.dilation == (1, 1) and conv.stride == (stride, stride):
            conv.__class__ = DepthwiseConv2dSame
        elif (
            type(conv) is nn.Conv2d
            and conv.stride == (1, 1)
            and conv.dilation == (dilation, dilation)
            and conv.padding == tuple(dilation * (k - 1) // 2 for k in conv.kernel_size)
            and all(k % 2 for k in conv.kernel_size)
        ):
            conv.__class__ = DepthwiseConv2d


def _depthwise(conv: nn.Conv2d, x: Tensor, stride: int, padding: tuple[int, int], dilation: int) -> Tensor:
    if not torch.is_grad_enabled():
        return F.conv2d(x, conv.weight, conv.bias, stride, padding, dilation, conv.groups)
    # oneDNN's gradients of depthwise convolutions take three times as long in bfloat16 as in float32.
    dtype = torch.promote_types(x.dtype, torch.float32)
    with torch.autocast("cpu", enabled=False):
        bias = None if conv.bias is None else conv.bias.to(dtype)
        out = _Depthwise.apply(x.to(dtype), conv.weight.to(dtype), bias, stride, padding, dilation)
        return out.to(x.dtype)


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution whose gradients are computed in the ways that are fastest in oneDNN.

    The input's gradient is a convolution with the kernel turned around. The weights' gradient is fast only without dilation, so
    with dilation d each of the d x d sub-grids, whose pixels don't interact with each other's, is convolved separately.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: tuple[int, int], dilation: int
    ) -> Tensor:
        grids = _to_grids(x, dilation)
        ctx.save_for_backward(grids, weight)
        ctx.settings = stride, padding, dilation, (x.shape[2], x.shape[3])
        return _from_grids(F.conv2d(grids, weight, bias, stride, padding, 1, len(weight)), dilation, ctx.settings[-1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        grids, weight = ctx.saved_tensors
        stride, padding, dilation, size = ctx.settings
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        of_bias = gradient.sum((0, 2, 3)) if needs_bias else None
        gradient = _to_grids(gradient, dilation)
        groups = len(weight)
        of_weight = _of_weight(gradient, grids, weight, stride, padding) if needs_weight else None
        of_x = None
        if needs_x and stride == 1:
            of_x = F.conv2d(gradient, weight.flip(2, 3), None, 1, padding, 1, groups)
        elif needs_x:
            of_x = _gradients(gradient, grids, weight, stride, padding, of_x=True)[0]
        return None if of_x is None else _from_grids(of_x, dilation, size), of_weight, of_bias, None, None, None


def _of_weight(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int]) -> Tensor:
    """Compute the weights' gradient, without stride three columns of the kernel at a time: oneDNN is slower with more."""
    rows, columns = padding
    if weight.shape[3] <= 3 or stride > 1:
        return _gradients(gradient, x, weight, stride, padding)[1]
    parts = []
    for first in range(0, weight.shape[3], 3):
        part = weight[..., first : first + 3]
        seen = F.pad(x, (columns - first, first + part.shape[3] - 1 - columns))
        parts.append(_gradients(gradient, seen, part, stride, (rows, 0))[1])
    return torch.cat(parts, dim=3)


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int], of_x: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [stride] * 2, padding, [1, 1], False, [0, 0], len(weight), [of_x, not of_x, False]
    )
    return gradients


def _to_grids(x: Tensor, d: int) -> Tensor:
    """Split `[B, C, H, W]` into sub-grids `[B d^2, C, ceil(H / d), ceil(W / d)]`, channels last, filled up with zeros."""
    if d == 1:
        return x.contiguous(memory_format=torch.channels_last)
    batch, channels, height, width = x.shape
    grids = x.new_zeros(batch, d, d, -(-height // d), -(-width // d), channels)
    for i in range(d):
        for j in range(d):
            part = x[:, :, i::d, j::d].permute(0, 2, 3, 1)
            grids[:, i, j, : part.shape[1], : part.shape[2]] = part
    return grids.flatten(0, 2).permute(0, 3, 1, 2)


def _from_grids(x: Tensor, d: int, size: tuple[int, int]) -> Tensor:
    """Undo `_to_grids`: join sub-grids to `[B, C, H, W]` of `size`, channels last."""
    if d == 1:
        return x
    grids = x.reshape(-1, d, d, *x.shape[1:])
    shape = (len(grids), x.shape[1], *size)
    joined = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    for i in range(d):
        for j in range(d):
            part = joined[:, :, i::d, j::d]
            part.copy_(grids[:, i, j, :, : part.shape[2], : part.shape[3]])
    return joined
