"""Train on several devices: start their processes, share batch norm, and describe how they split a batch."""

import os
from collections.abc import Sequence
from functools import wraps
from typing import Any

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from lightning.pytorch.utilities import rank_zero_only
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from adnet.data.datamodule import PairDataModule
from adnet.errors import UserError

PAPER_BATCH_SIZE = 8
"""Batch size of the paper (Section 4, Training)."""


class SyncBatchNorm(TorchSyncBatchNorm):
    """Share the statistics of batch norm between GPUs if each has fewer than `below` pairs. PyTorch cannot do so on CPUs.

    Lightning uses PyTorch's conversion, which would drop the activation in timm's `BatchNormAct2d`; this uses timm's.
    """

    def __init__(self, below: float) -> None:
        self._below = below
        self._before: dict[str, _BatchNorm] = {}

    def applies(self, trainer: L.Trainer, pairs: int) -> bool:
        """Return whether GPUs with `pairs` pairs each share their statistics."""
        return pairs < self._below and trainer.strategy.root_device.type == "cuda"

    def apply(self, model: nn.Module) -> nn.Module:
        """Convert the batch norms of a LightningModule in place, if the training needs it."""
        trainer: Any = model.trainer
        pairs = trainer.datamodule.device_batch_size(trainer.world_size, trainer.accumulate_grad_batches)
        if not self.applies(trainer, pairs):
            return model
        self._before = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
        return convert_sync_batchnorm(model)

    def revert(self, model: nn.Module) -> nn.Module:
        """Restore the original layers, with the current parameters and statistics."""
        for name, norm in self._before.items():
            synchronised = model.get_submodule(name)
            norm._parameters, norm._buffers = synchronised._parameters, synchronised._buffers
            norm.train(synchronised.training)
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, norm)
        return model


@wraps(L.Trainer.__init__)  # so that its arguments are known, and a misspelt one is an error
def ddp_trainer(*, sync_batchnorm: bool | int = False, **options: Any) -> L.Trainer:
    """Build a `lightning.Trainer` for `strategy=ddp`. `devices=auto` means all GPUs (NCCL), or two CPU processes (gloo).

    Under torchrun, `devices=auto` is the number of processes that torchrun started. `sync_batchnorm` works with any
    backbone (see `SyncBatchNorm`); if it is a number, GPUs share statistics if each has fewer pairs than that. Raises
    UserError if several jobs share this process: Lightning would start each rank with the command line of the whole sweep.
    """
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise UserError("trainer=ddp needs a process for each job: leave hydra/sweeper as it is")
    started = os.environ.get("LOCAL_WORLD_SIZE")
    accelerator = options.get("accelerator", "auto")
    if accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available()):
        options["accelerator"] = "cpu"  # not Apple's GPU, which has no collective operations
        started = started or "2"
    if started and options.get("devices", "auto") == "auto":
        options["devices"] = int(started)
    below = {True: float("inf"), False: 0}[sync_batchnorm] if isinstance(sync_batchnorm, bool) else sync_batchnorm
    return L.Trainer(**options | {"plugins": [*(options.get("plugins") or ()), SyncBatchNorm(below)]})


# Not an entry: `wraps` shares Lightning's own dictionary.
ddp_trainer.__annotations__ = L.Trainer.__init__.__annotations__ | {"sync_batchnorm": bool | int}


def check_processes(devices: int | str | Sequence[int], nodes: int = 1) -> None:
    """Raise UserError if srun or torchrun has started more processes than the `Trainer` of these devices joins.

    Each of them would train by itself, in the same folder. Lightning is not asked, because its answer is about srun's options.
    """
    if isinstance(devices, Sequence) and not isinstance(devices, str):
        devices = len(devices)
    joined = int(devices) * nodes if str(devices).isdecimal() else None
    started = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    if "TORCHELASTIC_RUN_ID" in os.environ:
        started = int(os.environ["WORLD_SIZE"])
    started = max(started, getattr(rank_zero_only, "rank", 0) + 1)  # set by Lightning
    if joined is not None and started > joined:
        raise UserError(
            f"srun or torchrun has started {started} processes, but this training is of {joined}: add trainer=ddp to share "
            "it, or start one process"
        )


def effective_batch(data: PairDataModule, trainer: L.Trainer) -> str:
    """Describe how a batch is split. Raises UserError if it can't be evenly, or batch norm gets a single pair."""
    devices, accumulated = trainer.world_size, trainer.accumulate_grad_batches
    each = data.device_batch_size(devices, accumulated)
    layers = getattr(trainer.strategy, "_layer_sync", None)  # Lightning has no public name for it
    seen = each * devices if isinstance(layers, SyncBatchNorm) and layers.applies(trainer, each) else each
    if seen < 2:
        raise UserError(
            f"pairs.batch_size={data.batch_size} leaves each batch norm one pair, but it needs two: use a larger batch, fewer "
            "devices or accumulated batches, or on GPUs trainer=ddp, which synchronises batch norm"
        )
    plural = "" if devices == 1 else "s"
    line = f"effective batch: {data.batch_size} pairs = {devices} device{plural} x {each} x {accumulated} accumulated"
    if seen > each:
        line += ", batch norm over all"
    return line if data.batch_size == PAPER_BATCH_SIZE else f"{line} (the paper's is {PAPER_BATCH_SIZE})"
