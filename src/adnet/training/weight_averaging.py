"""An exponential moving average of the weights, which is what validation, checkpoints and the final scores see."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import EMAWeightAveraging


class WeightAveraging(EMAWeightAveraging):
    """Average the weights and running statistics over steps: `average = decay * average + (1 - decay) * weights`.

    It costs no time worth mentioning and steadies training with small batches (Izmailov et al., arXiv:1803.05407, average for
    the same reason). A checkpoint's `state_dict` is the average; the weights that training goes on from lie beside it.

    Args:
        decay: in [0, 1); the average reaches back about `1 / (1 - decay)` optimiser steps.
    """

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__(decay=decay)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the weights alone: the last checkpoint is saved now, and more steps may go on from it."""

    def on_fit_end(self, _: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the average in place of the weights."""
        self._copy_average_to_current(pl_module)
