"""Batch norm over all devices."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class SyncBatchNorm(TorchSyncBatchNorm):
    """Shares batch norm's statistics over all GPUs where one of them has fewer than `below` pairs. On a CPU PyTorch has none.

    PyTorch's conversion, which Lightning calls, takes timm's `BatchNormAct2d` for a plain batch norm: timm's own keeps the
    activations in them.
    """

    def __init__(self, below: float) -> None:
        self._below = below
        self._before: dict[str, _BatchNorm] = {}

    def applies(self, trainer: L.Trainer, pairs: int) -> bool:
        """Whether GPUs that have `pairs` pairs each share their statistics."""
        return pairs < self._below and trainer.strategy.root_device.type == "cuda"

    def apply(self, model: nn.Module) -> nn.Module:
        """Convert a LightningModule in place, for the time of a training, if it needs it."""
        trainer: Any = model.trainer
        pairs = trainer.datamodule.device_batch_size(trainer.world_size, trainer.accumulate_grad_batches)
        if not self.applies(trainer, pairs):
            return model
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
