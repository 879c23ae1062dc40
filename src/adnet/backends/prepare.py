"""Prepare a network for fast inference, in PyTorch and in other runtimes."""

from __future__ import annotations

import copy

import torch
from timm.layers import AvgPool2dSame, Conv2dSame
from torch import nn

from adnet.kernels.batch_norm_folding import fold_batch_norms
from adnet.kernels.winograd import WinogradConv2d
from adnet.models import ADNet


def optimised(model: ADNet, winograd: bool = True) -> ADNet:
    """Copy `model` for inference only, on its device, in eval mode: the same logits up to float32 rounding.

    The copy has no auxiliary head, batch norms folded into the convolutions before them, and channels-last weights; on a CPU,
    wide 3x3 convolutions use Winograd's algorithm, unless `winograd` is False.
    """
    model = copy.deepcopy(model).eval()
    model.aux = None
    folded = copy.deepcopy(model)
    frame = torch.rand(1, 3, 65, 65, device=model.device)
    if fold_batch_norms(folded, lambda: folded(frame, frame)):
        model = folded
    if winograd and model.device.type == "cpu":
        WinogradConv2d.replace(model)
    return model.requires_grad_(False).to(memory_format=torch.channels_last)


def portable(model: ADNet) -> ADNet:
    """Copy `model` to the CPU for other runtimes: standard operators only, for frames with sides of 8k + 1.

    TensorFlow's padding depends on the frame's size; with sides of 8k + 1 every strided convolution meets odd sides, where
    that padding is the usual symmetric one. timm's stride-1 average pooling recomputes its padding, too, though constant.
    """
    model = optimised(copy.deepcopy(model).cpu(), winograd=False)
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.Conv2d) and type(module) is not nn.Conv2d:
            if type(module) is Conv2dSame:
                sides = zip(module.kernel_size, module.dilation, strict=True)
                module.padding = tuple(d * (k - 1) // 2 for k, d in sides)
            module.__class__ = nn.Conv2d
        elif type(module) is AvgPool2dSame and module.stride == (1, 1):
            rows, columns = (k - 1 for k in module.kernel_size)
            border = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
            model.set_submodule(path, nn.Sequential(nn.ZeroPad2d(border), nn.AvgPool2d(module.kernel_size, stride=1)))
    return model
