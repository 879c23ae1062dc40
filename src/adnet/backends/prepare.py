"""A network as fast as plain PyTorch makes it."""

from __future__ import annotations

import copy

import torch
from timm.layers import AvgPool2dSame, Conv2dSame
from torch import nn

from adnet.kernels.batch_norm_folding import fold_batch_norms
from adnet.kernels.winograd import WinogradConv2d
from adnet.models import ADNet


def optimised(model: ADNet, winograd: bool = True) -> ADNet:
    """A copy of `model` for inference alone, on its device, in eval mode: the same logits but for float32 rounding.

    Without the auxiliary head, with batch norms folded into convolutions (where they follow them) and channels last; on a
    CPU wide 3x3 convolutions run by Winograd's algorithm, unless `winograd` is False.
    """
    model = _without_aux(model)
    folded = copy.deepcopy(model)
    frame = torch.rand(1, 3, 65, 65, device=model.device)
    if fold_batch_norms(folded, lambda: folded(frame, frame)):
        model = folded
    if winograd and model.device.type == "cpu":
        WinogradConv2d.replace(model)
    return model.requires_grad_(False).to(memory_format=torch.channels_last)


def _without_aux(model: ADNet) -> ADNet:
    model = copy.deepcopy(model).eval()
    model.aux = None
    return model


def plain(model: ADNet) -> ADNet:
    """A copy on the CPU that is made of standard operators only and takes frames with sides of 8k + 1, for other runtimes.

    TensorFlow's padding depends on the frame's size; with sides of 8k + 1 every strided convolution meets odd sides, for
    which it is the usual symmetric one. timm's average pooling of stride 1 computes its constant padding anew, too.
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
