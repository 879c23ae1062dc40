"""Faster ways to compute what PyTorch's layers do: folded batch norms, and dilated depthwise convolution on a CPU."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(module: nn.Module, probe: Callable[[], Tensor]) -> bool:
    """Fold each batch norm, with its running statistics, into the convolution registered before it, in place.

    `probe` runs the module on some input. Returns whether no batch norm is left and the module's output in eval mode is the
    same. If not, the batch norms don't follow the convolutions, and the module is broken.
    """
    training = module.training
    module.eval()
    with torch.no_grad():
        before = probe()
        last: tuple[nn.Module, str, nn.Conv2d] | None = None
        for path, child in list(module.named_modules()):
            parent, name = module.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2]
            if isinstance(child, nn.Conv2d):
                last = parent, name, child
            elif isinstance(child, nn.BatchNorm2d) and last is not None and last[2].out_channels == child.num_features:
                setattr(last[0], last[1], fuse_conv_bn_eval(last[2], child))
                # timm's batch norms include their activation.
                setattr(parent, name, getattr(child, "act", nn.Identity()))
                last = None
        after = probe()
    module.train(training)
    left = any(isinstance(child, nn.BatchNorm2d) for child in module.modules())
    return not left and torch.allclose(before, after, rtol=1e-2, atol=1e-2 * float(before.abs().max()))


class DilatedDepthwiseConv2d(nn.Conv2d):
    """A stride-1 "same" depthwise convolution with dilation d, computed on a CPU as d x d undilated ones, which are faster.

    Pixels that are d apart don't interact with those in between, so each of the d x d sub-grids is convolved separately
    (space to batch). oneDNN has a fast gradient only for undilated depthwise convolutions. Other devices compute it as
    `nn.Conv2d` does, whose parameters and results it shares.
    """

    @classmethod
    def replace(cls, module: nn.Module) -> None:
        """Convert every such convolution inside `module` to this class, in place."""
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
        grids = _to_grids(input, self.dilation[0])
        padding = tuple((k - 1) // 2 for k in self.kernel_size)
        out = F.conv2d(grids, self.weight, self.bias, 1, padding, 1, self.groups)
        return _from_grids(out, self.dilation[0], (input.shape[2], input.shape[3]))


def _to_grids(x: Tensor, d: int) -> Tensor:
    """Split `[B, C, H, W]` into sub-grids `[B d^2, C, ceil(H / d), ceil(W / d)]`, channels last, in one copy."""
    batch, channels, height, width = x.shape
    rows, columns = -(-height // d), -(-width // d)
    x = x.permute(0, 2, 3, 1)
    if (height, width) != (rows * d, columns * d):
        x = F.pad(x, (0, 0, 0, columns * d - width, 0, rows * d - height))
    x = x.reshape(batch, rows, d, columns, d, channels).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(batch * d * d, rows, columns, channels).permute(0, 3, 1, 2)


def _from_grids(x: Tensor, d: int, size: tuple[int, int]) -> Tensor:
    """Undo `_to_grids`: join sub-grids to `[B, C, H, W]` of `size`, channels last."""
    batch, channels, rows, columns = x.shape
    x = x.permute(0, 2, 3, 1).reshape(batch // d**2, d, d, rows, columns, channels).permute(0, 3, 1, 4, 2, 5)
    x = x.reshape(batch // d**2, rows * d, columns * d, channels)[:, : size[0], : size[1]]
    return x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
