"""Describe how the pairs of an optimiser step are split over devices and accumulated batches."""

from __future__ import annotations

import lightning as L

from adnet.data.datamodule import PairDataModule
from adnet.errors import UserError
from adnet.training.ddp import SyncBatchNorm

PAPER = 8
"""Batch size of the paper (Section 4, Training)."""


def effective_batch(data: PairDataModule, trainer: L.Trainer) -> str:
    """Describe in one line how a batch is split, and whether its size differs from the paper's.

    Does not synchronise processes. Raises UserError if the batch cannot be split evenly, or batch norm gets a single pair.
    """
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
    return line if data.batch_size == PAPER else f"{line} (the paper's is {PAPER})"
