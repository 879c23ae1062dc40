"""A loss that is no number ends the run before anything is saved that it spoilt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from adnet.data.pairs import TrainingPair
from adnet.errors import UserError
from adnet.files import write_json


class FiniteLoss(Callback):
    """Stops at a loss of NaN or infinity, with the pairs that gave it in `folder/nan_batch.json`."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def on_train_batch_end(
        self, trainer: L.Trainer, _: L.LightningModule, outputs: Any, batch: TrainingPair, batch_idx: int
    ) -> None:
        loss = outputs["loss"]
        finite = bool(torch.isfinite(loss))
        # All processes stop: those with a good loss would wait for the others for ever.
        if trainer.strategy.reduce_boolean_decision(finite):
            return
        step = trainer.global_step
        file = self._folder / (f"nan_batch-{trainer.global_rank}.json" if trainer.global_rank else "nan_batch.json")
        if not finite:
            sequences = trainer.datamodule.train.sequences  # type: ignore[attr-defined]
            write_json(
                file,
                {
                    "step": step,
                    "batch": batch_idx,
                    "loss": str(loss.item()),
                    "pairs": [
                        {
                            "sequence": sequences[s].name,
                            "anchor": sequences[s].frames[anchor].stem,
                            "frame": sequences[s].frames[frame].stem,
                        }
                        for s, anchor, frame in batch["key"].tolist()
                    ],
                },
            )
        raise UserError(
            f"the loss of step {step} is {loss.item()}; its pairs are in {file}, and the checkpoints are of before: try a "
            "lower optim.optimizer.lr, or trainer.gradient_clip_val"
        )
