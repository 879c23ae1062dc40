"""Fold batch norms into the convolutions before them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
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
