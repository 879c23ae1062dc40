"""How fast a training goes, and whether it waits for its data."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from adnet.data.pairs import TrainingPair


class Throughput(Callback):
    """Logs `train/pairs_per_second`, over all devices, and `train/data_wait`, the share of the time spent waiting for pairs.

    Both are means over the last `window` batches; validation doesn't count. The wait is that of this process: from the end
    of a batch, or the start of an epoch, to the beginning of the next batch.
    """

    def __init__(self, window: int = 10) -> None:
        self._batches: deque[tuple[int, float, float]] = deque(maxlen=window)
        """Pairs, seconds and seconds waited of each."""
        self._ended = self._began = 0.0

    @property
    def pairs_per_second(self) -> float:
        """On this device."""
        return sum(pairs for pairs, _, _ in self._batches) / sum(seconds for _, seconds, _ in self._batches)

    @property
    def data_wait(self) -> float:
        """In [0, 1]."""
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
        # Tensors, for Lightning would copy a number to the GPU, and wait for it.
        pl_module.log("train/pairs_per_second", torch.tensor(self.pairs_per_second * trainer.world_size))
        pl_module.log("train/data_wait", torch.tensor(self.data_wait))

    def on_validation_end(self, *_: Any) -> None:
        # A validation in the middle of an epoch.
        self._ended = time.perf_counter()
