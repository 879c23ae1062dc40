"""3x3 convolution on a CPU with fewer multiplications than by definition."""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.weak import WeakTensorKeyDictionary

_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0)
"""Where the polynomials behind Winograd's algorithm are evaluated, besides infinity; small points round least."""

_WORTHWHILE = 1.5
"""The transforms pay off if they divide the number of multiplications by at least this much."""

_transformed: MutableMapping[Tensor, dict[tuple[int, int], Tensor]] = WeakTensorKeyDictionary()
"""Weight -> (m, n) -> transformed weight, for as long as the weight lives."""


class WinogradConv2d(nn.Conv2d):
    """A stride-1 "same" 3x3 convolution, dilated or not, by Winograd's minimal filtering (Lavin and Gray, arXiv:1509.09308).

    A tile of m x n outputs takes (m + 2)(n + 2) multiplications instead of the 9 mn of the definition: a quarter for the
    largest tile, 4 x 4. (oneDNN computes by definition, as a matrix product at peak speed.) With dilation d, pixels that
    are d apart form d x d grids, which are convolved separately; m and n are chosen to suit the grid's size. Results differ
    from those of `nn.Conv2d` by float32 rounding, about 1e-5 of the largest.

    Other devices, types other than float32 and anything that needs a gradient are computed as in `nn.Conv2d`. The
    transformed weights are cached, in up to four times the weights' memory, so weights must not change after the first call.
    """

    @classmethod
    def replace(cls, module: nn.Module, channels: int = 128) -> None:
        """Convert every such convolution inside `module` to this class, in place.

        With fewer than `channels` input or output channels the transforms cost more than they save.
        """
        for conv in module.modules():
            if (
                type(conv) is nn.Conv2d
                and (conv.kernel_size, conv.stride, conv.groups) == ((3, 3), (1, 1), 1)
                and conv.padding == conv.dilation == (conv.dilation[0],) * 2
                and conv.padding_mode == "zeros"
                and min(conv.in_channels, conv.out_channels) >= channels
            ):
                conv.__class__ = cls

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name in nn.Conv2d)
        if (input.device.type, input.dtype) != ("cpu", torch.float32) or torch.is_grad_enabled():
            return super().forward(input)
        d = self.dilation[0]
        height, width = input.shape[2:]
        rows, columns = -(-height // d), -(-width // d)
        m, n = _tile(rows), _tile(columns)
        tall, wide = -(-rows // m), -(-columns // n)
        # oneDNN skips the products with the zeros around the frame.
        taps = (height + 2 * max(height - d, 0)) * (width + 2 * max(width - d, 0))
        if taps < _WORTHWHILE * d * d * tall * wide * (m + 2) * (n + 2):
            return super().forward(input)
        return _convolve(input, self.weight, self.bias, d, m, n)


@torch.library.custom_op(
    "adnet::winograd",
    mutates_args=(),
    schema="(Tensor input, Tensor weight, Tensor? bias, int d, int m, int n) -> Tensor",
)
def _convolve(input: Tensor, weight: Tensor, bias: Tensor | None, d: int, m: int, n: int) -> Tensor:  # noqa: A002
    """Convolve `input` `[B, C_in, H, W]` with `weight` `[C_out, C_in, 3, 3]`: `[B, C_out, H, W]`, channels last.

    A custom operator, since torch.compile's own code for the transforms is no faster.
    """
    kept = _transformed.setdefault(weight, {})
    if (m, n) not in kept:
        kept[m, n] = _transform(weight, m, n)
    batch, _, height, width = input.shape
    tall, wide = (-(-side // (d * tile)) for side, tile in ((height, m), (width, n)))
    # [B, rows, d, columns, d, C] with a border of one row and column in each of the d x d grids.
    border = (0, 0, d, (wide * n + 1) * d - width, d, (tall * m + 1) * d - height)
    grids = F.pad(input.permute(0, 2, 3, 1), border)
    grids = grids.reshape(batch, tall * m + 2, d, wide * n + 2, d, -1)
    # Overlapping tiles, transformed along rows, then along columns: [n + 2, m + 2, B, tall, d, wide, d, C].
    tiles = torch.tensordot(_matrices(m)[0], grids.unfold(1, m + 2, m), ([1], [6]))
    tiles = torch.tensordot(_matrices(n)[0], tiles.unfold(4, n + 2, n), ([1], [7]))
    products = torch.bmm(tiles.flatten(0, 1).flatten(1, -2), kept[m, n]).view(n + 2, m + 2, -1)
    # [n, m, B, tall, d, wide, d, C]
    out: Tensor = _matrices(m)[2] @ torch.tensordot(_matrices(n)[2], products, ([1], [0]))
    out = out.view(n, m, batch, tall, d, wide, d, -1).permute(2, 3, 1, 4, 5, 0, 6, 7)
    out = out.reshape(batch, tall * m * d, wide * n * d, -1)[:, :height, :width]
    if bias is not None:
        out += bias
    return out.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


@_convolve.register_fake
def _(input: Tensor, weight: Tensor, *_: Any) -> Tensor:  # noqa: A002
    shape = (input.shape[0], weight.shape[0], *input.shape[2:])
    return torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=torch.channels_last)


def _transform(weight: Tensor, m: int, n: int) -> Tensor:
    """Transform kernels for tiles of m x n: `[(n + 2)(m + 2), C_in, C_out]`."""
    down, along = _matrices(m)[1], _matrices(n)[1]
    return torch.einsum("aj,bk,oijk->baio", down, along, weight).flatten(0, 1).contiguous()


def _tile(length: int) -> int:
    """Choose the tile size with the fewest multiplications along `length` outputs; of equal ones, the largest."""
    return min((4, 3, 2), key=lambda m: -(-length // m) * (m + 2))


@cache
def _matrices(m: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute B^T, G and A^T of F(m, 3), by the transposed Toom-Cook algorithm: outputs are A^T [(G kernel) * (B^T tile)]."""
    points = np.array(_POINTS[: m + 1])

    def evaluate(terms: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        """Build the matrix that evaluates a polynomial of `terms` terms at the points and at infinity (its last term)."""
        return np.vstack([np.vander(points, terms, increasing=True), np.eye(terms)[-1]])

    whole = np.linalg.inv(evaluate(m + 2)).T
    return tuple(torch.from_numpy(matrix).float().contiguous() for matrix in (whole, evaluate(3), evaluate(m).T))  # type: ignore[return-value]
