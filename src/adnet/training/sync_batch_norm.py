"""Batch norm over all devices."""

from __future__ import annotations

from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class SyncBatchNorm(TorchSyncBatchNorm):
    """Synchronises batch norms as Lightning's own does, and keeps the activations that timm's have in them.

    PyTorch's conversion, which Lightning calls, takes timm's `BatchNormAct2d` for a plain batch norm.
    """

    def __init__(self) -> None:
        self._before: dict[str, _BatchNorm] = {}

    def apply(self, model: nn.Module) -> nn.Module:
        """Convert `model` in place, for the time of a training."""
        self._before = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
        converted: nn.Module = convert_sync_batchnorm(model)
        return converted

    def revert(self, model: nn.Module) -> nn.Module:
        """Put the layers back that were there before, with what was learnt since."""
        for name, norm in self._before.items():
            synchronised = model.get_submodule(name)
            norm._parameters, norm._buffers = synchronised._parameters, synchronised._buffers
            norm.train(synchronised.training)
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, norm)
        return model
