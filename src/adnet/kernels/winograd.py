"""3x3 convolution on a CPU with fewer multiplications than its definition has."""

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
"""Where the polynomials behind Winograd's algorithm are evaluated, beside infinity: small ones round least."""

_WORTHWHILE = 1.5
"""Times fewer multiplications that pay for the transforms."""

_transformed: MutableMapping[Tensor, dict[tuple[int, int], Tensor]] = WeakTensorKeyDictionary()
"""Of each weight, for as long as it lives, what `_transform` gives for tiles of m x n."""


class WinogradConv2d(nn.Conv2d):
    """A stride-1 "same" 3x3 convolution, dilated or not, by Winograd's minimal filtering (Lavin and Gray, arXiv:1509.09308).

    A tile of m x n outputs takes (m + 2)(n + 2) multiplications where the definition takes 9 mn: a quarter for the largest,
    4 x 4. oneDNN computes by the definition, so that a matrix multiply at peak speed is what is beaten here. With dilation
    d, pixels that are d apart form d x d grids of their own, which are convolved each by itself; m and n are the best for
    the size of such a grid. Results differ from those of `nn.Conv2d` by float32 rounding, about 1e-5 of the largest.

    Other devices, other types than float32 and anything that needs a gradient take the usual way. The transformed weights
    are kept, and take up to four times the weights' memory: they must not change after the first call.
    """

    @classmethod
    def replace(cls, module: nn.Module, channels: int = 128) -> None:
        """Turn every such convolution inside `module` into one of this class, in place.

        With fewer than `channels` input or output channels the transforms take longer than what they save.
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
        # By the definition, oneDNN leaves out what would be multiplied by the zeros around the frame.
        taps = (height + 2 * max(height - d, 0)) * (width + 2 * max(width - d, 0))
        if taps < _WORTHWHILE * d * d * tall * wide * (m + 2) * (n + 2):
            return super().forward(input)
        out: Tensor = _convolve(input, self.weight, self.bias, d, m, n)
        return out


@torch.library.custom_op(
    "adnet::winograd",
    mutates_args=(),
    schema="(Tensor input, Tensor weight, Tensor? bias, int d, int m, int n) -> Tensor",
)
def _convolve(input: Tensor, weight: Tensor, bias: Tensor | None, d: int, m: int, n: int) -> Tensor:  # noqa: A002
    """One operator to torch.compile, whose own code for the transforms is no faster.

    `input` `[B, C_in, H, W]`, `weight` `[C_out, C_in, 3, 3]` -> `[B, C_out, H, W]`, channels last.
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
    """Kernels transformed for tiles of m x n, `[(n + 2)(m + 2), C_in, C_out]`."""
    down, along = _matrices(m)[1], _matrices(n)[1]
    return torch.einsum("aj,bk,oijk->baio", down, along, weight).flatten(0, 1).contiguous()


def _tile(length: int) -> int:
    """How many outputs at a time take the fewest multiplications along `length` of them; the more the fewer tiles."""
    return min((4, 3, 2), key=lambda m: -(-length // m) * (m + 2))


@cache
def _matrices(m: int) -> tuple[Tensor, Tensor, Tensor]:
    """B^T, G and A^T of F(m, 3): outputs are A^T [(G kernel) * (B^T tile)], by the transposed Toom-Cook algorithm."""
    points = np.array(_POINTS[: m + 1])

    def evaluate(terms: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        """Of a polynomial of so many terms, at the points and at infinity (its last coefficient)."""
        return np.vstack([np.vander(points, terms, increasing=True), np.eye(terms)[-1]])

    whole = np.linalg.inv(evaluate(m + 2)).T
    return tuple(torch.from_numpy(matrix).float().contiguous() for matrix in (whole, evaluate(3), evaluate(m).T))  # type: ignore[return-value]
