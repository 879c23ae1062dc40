"""An exponential moving average of the weights, which is what validation, checkpoints and the final scores see."""

from __future__ import annotations

from functools import partial

import lightning as L
from lightning.pytorch import callbacks
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from adnet.shared.value_types import Share


class WeightAveraging(callbacks.WeightAveraging):
    """Average the weights and running statistics over steps: `average = decay * average + (1 - decay) * weights`.

    It costs no time worth mentioning and steadies training with small batches (Izmailov et al., arXiv:1803.05407, average for
    the same reason). A checkpoint's `state_dict` is the average; the weights that training goes on from lie beside it.

    Args:
        decay: in [0, 1); the average reaches back about `1 / (1 - decay)` optimiser steps, and early in training about a ninth
            of the steps there were (the usual warm-up, `(1 + n) / (10 + n)`), so that a short run isn't its first weights.
    """

    def __init__(self, decay: Share = 0.99) -> None:
        super().__init__(use_buffers=True, multi_avg_fn=partial(_update, decay))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the weights alone: the last checkpoint is saved now, and more steps may go on from it."""

    def on_fit_end(self, _: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the average in place of the weights."""
        self._copy_average_to_current(pl_module)


def _update(decay: float, average: list[Tensor], current: list[Tensor], number: Tensor | int) -> None:
    """Move the average towards the current weights; `number` have gone into it."""
    rate = min(decay, float((1 + number) / (10 + number)))
    get_ema_multi_avg_fn(rate)(average, current, number)  # type: ignore[no-untyped-call]
