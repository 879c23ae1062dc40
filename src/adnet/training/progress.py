"""The progress bar of a training."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import TQDMProgressBar


class Progress(TQDMProgressBar):
    """A `TQDMProgressBar` with the last loss, which is read when it is drawn: what `prog_bar=True` logs is read each step."""

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """Add `train/loss` to what Lightning shows."""
        shown: dict[str, Any] = super().get_metrics(trainer, pl_module)
        if (loss := trainer.callback_metrics.get("train/loss")) is not None:
            shown["train/loss"] = float(loss)
        return shown
