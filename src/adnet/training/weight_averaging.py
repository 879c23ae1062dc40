"""Keep an exponential moving average of the weights, used for validation, checkpoints and the final scores."""

from __future__ import annotations

from functools import partial

import lightning as L
from lightning.pytorch import callbacks
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from adnet.shared.value_types import Share


class WeightAveraging(callbacks.WeightAveraging):
    """Average the weights and running statistics over steps: `average = decay * average + (1 - decay) * weights`.

    It costs hardly any time and stabilises training with small batches (compare Izmailov et al., arXiv:1803.05407). A
    checkpoint's `state_dict` holds the average; the weights to resume training from are stored beside it.

    Args:
        decay: in [0, 1). The average spans about `1 / (1 - decay)` optimiser steps; early in training, about a ninth of the
            steps so far (the usual warm-up, `(1 + n) / (10 + n)`), so that the initial weights do not dominate short runs.
    """

    def __init__(self, decay: Share = 0.99) -> None:
        super().__init__(use_buffers=True, multi_avg_fn=partial(_update, decay))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the weights: the last checkpoint is saved now, and training may resume from it."""

    def on_fit_end(self, _: L.Trainer, pl_module: L.LightningModule) -> None:
        """Replace the weights by the average."""
        self._copy_average_to_current(pl_module)


def _update(decay: float, average: list[Tensor], current: list[Tensor], number: Tensor | int) -> None:
    """Move the average, of `number` steps so far, towards the current weights."""
    rate = min(decay, float((1 + number) / (10 + number)))
    get_ema_multi_avg_fn(rate)(average, current, number)  # type: ignore[no-untyped-call]
