"""A loss that is no number ends the run before anything is saved that it spoilt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from adnet.data.pairs import TrainingPair
from adnet.errors import UserError
from adnet.files import write_json


class FiniteLoss(Callback):
    """Stops at a loss of NaN or infinity, with the pairs that gave it in `folder/nan_batch.json`.

    Of several processes each that has such a loss writes a file, that of rank 1 `nan_batch-1.json`; all stop, and name the first.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def on_train_batch_end(
        self, trainer: L.Trainer, _: L.LightningModule, outputs: Any, batch: TrainingPair, batch_idx: int
    ) -> None:
        loss = outputs["loss"].detach()
        # All processes stop: those with a good loss would wait for the others for ever.
        if trainer.strategy.reduce_boolean_decision(bool(loss.isfinite())):
            return
        losses = trainer.strategy.all_gather(loss).reshape(-1)
        finite = losses.isfinite().tolist()
        step = trainer.global_step
        if not finite[trainer.global_rank]:
            sequences = trainer.datamodule.train.sequences  # type: ignore[attr-defined]
            write_json(
                self._file(trainer.global_rank),
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
        trainer.strategy.barrier()  # the file is there before anyone names it, or ends the others
        first = finite.index(False)
        where = f" on rank {first}" if len(finite) > 1 else ""
        raise UserError(
            f"the loss of step {step} is {losses[first].item()}{where}; its pairs are in {self._file(first)}, and the "
            "checkpoints are of before: try a lower optim.optimizer.lr, or trainer.gradient_clip_val"
        )

    def _file(self, rank: int) -> Path:
        return self._folder / (f"nan_batch-{rank}.json" if rank else "nan_batch.json")
