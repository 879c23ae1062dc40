"""How many pairs an optimiser step sees, in words."""

from __future__ import annotations

import lightning as L

from adnet.data.datamodule import PairDataModule

PAPER = 8
"""Section 4, Training."""


def effective_batch(data: PairDataModule, trainer: L.Trainer) -> str:
    """One line that says how a batch is shared, and whether it is not the paper's. Raises UserError where it can't be."""
    devices, accumulated = trainer.world_size, trainer.accumulate_grad_batches
    each = data.device_batch_size(devices, accumulated)
    plural = "" if devices == 1 else "s"
    line = f"effective batch: {data.batch_size} pairs = {devices} device{plural} x {each} x {accumulated} accumulated"
    return line if data.batch_size == PAPER else f"{line} (the paper's is {PAPER})"
