"""Log how fast a training is, and whether it waits for its data."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from adnet.data.pairs import TrainingPair


class Throughput(Callback):
    """Log `train/pairs_per_second` (over all devices) and `train/data_wait` (share of time spent waiting for pairs).

    Both are means over the last `window` batches, without validation. This process waits from the end of a batch, or the
    start of an epoch, until the next batch begins.
    """

    def __init__(self, window: int = 10) -> None:
        self._batches: deque[tuple[int, float, float]] = deque(maxlen=window)
        """For each batch: number of pairs, seconds, and seconds spent waiting."""
        self._ended = self._began = 0.0

    @property
    def pairs_per_second(self) -> float:
        """Training speed of this device."""
        return sum(pairs for pairs, _, _ in self._batches) / sum(seconds for _, seconds, _ in self._batches)

    @property
    def data_wait(self) -> float:
        """Share of the time spent waiting for pairs, in [0, 1]."""
        return sum(waited for _, _, waited in self._batches) / sum(seconds for _, seconds, _ in self._batches)

    def on_train_epoch_start(self, *_: Any) -> None:
        self._ended = time.perf_counter()

    def on_train_batch_start(self, *_: Any) -> None:
        self._began = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, _: Any, batch: TrainingPair, *__: Any
    ) -> None:
        now = time.perf_counter()
        self._batches.append((len(batch["mask"]), now - self._ended, self._began - self._ended))
        self._ended = now
        # Not numbers, which Lightning would copy to the GPU and wait for.
        pl_module.log("train/pairs_per_second", torch.tensor(self.pairs_per_second * trainer.world_size))
        pl_module.log("train/data_wait", torch.tensor(self.data_wait))

    def on_validation_end(self, *_: Any) -> None:
        # Do not count a validation in the middle of an epoch.
        self._ended = time.perf_counter()
