"""Training on several devices: a Trainer that starts its ranks, and batch norm over all of them."""

from __future__ import annotations

import os
from functools import wraps
from typing import Any

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from adnet.errors import UserError


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


@wraps(L.Trainer.__init__)  # so that its arguments are known, and a misspelt one is not
def ddp_trainer(*, sync_batchnorm: bool | int = False, **options: Any) -> L.Trainer:
    """A `lightning.Trainer` for `strategy=ddp`, whose `devices=auto` is every GPU (NCCL), or two processes on the CPU (gloo).

    Under torchrun it is as many as torchrun started. `sync_batchnorm` is for any backbone (`SyncBatchNorm`), and may also be a
    number: of pairs, and GPUs that get fewer share their statistics. Raises UserError where several jobs share this process:
    Lightning would start each rank with the command line of the whole sweep.
    """
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise UserError("trainer=ddp needs a process for each job: leave hydra/sweeper as it is")
    started = os.environ.get("LOCAL_WORLD_SIZE")
    accelerator = options.get("accelerator", "auto")
    if accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available()):
        options["accelerator"] = "cpu"  # not Apple's, which has no collectives
        started = started or "2"
    if started and options.get("devices", "auto") == "auto":
        options["devices"] = int(started)
    below = {True: float("inf"), False: 0}[sync_batchnorm] if isinstance(sync_batchnorm, bool) else sync_batchnorm
    return L.Trainer(**options | {"plugins": [*(options.get("plugins") or ()), SyncBatchNorm(below)]})


ddp_trainer.__annotations__["sync_batchnorm"] = bool | int
