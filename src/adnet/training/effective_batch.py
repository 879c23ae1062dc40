"""How many pairs an optimiser step sees, in words."""

from __future__ import annotations

import lightning as L

from adnet.data.datamodule import PairDataModule
from adnet.errors import UserError
from adnet.training.ddp import SyncBatchNorm

PAPER = 8
"""Section 4, Training."""


def effective_batch(data: PairDataModule, trainer: L.Trainer) -> str:
    """Say in one line how a batch is shared, and whether it is not the paper's. It waits for no other process.

    Raises UserError if the batch can't be split evenly, or leaves batch norm fewer than two pairs.
    """
    devices, accumulated = trainer.world_size, trainer.accumulate_grad_batches
    each = data.device_batch_size(devices, accumulated)
    layers = getattr(trainer.strategy, "_layer_sync", None)  # for which Lightning has no public name
    seen = each * devices if isinstance(layers, SyncBatchNorm) and layers.applies(trainer, each) else each
    if seen < 2:
        raise UserError(
            f"pairs.batch_size={data.batch_size} leaves each batch norm one pair, and it needs two: take a larger batch, fewer "
            "devices or accumulated batches, or on GPUs trainer=ddp, which synchronises them"
        )
    plural = "" if devices == 1 else "s"
    line = f"effective batch: {data.batch_size} pairs = {devices} device{plural} x {each} x {accumulated} accumulated"
    if seen > each:
        line += ", batch norm over all"
    return line if data.batch_size == PAPER else f"{line} (the paper's is {PAPER})"
