"""A loss that is no number ends the run before anything is saved that it spoilt."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from adnet.data.pairs import TrainingPair
from adnet.errors import UserError
from adnet.shared.files import write_json


class _Batch(NamedTuple):
    """A batch that nobody has looked at: its `loss` and its pairs' `key` `[B, 3]` are still on the device."""

    step: int
    number: int
    loss: Tensor
    key: Tensor


class FiniteLoss(Callback):
    """Stops at a loss of NaN or infinity, with the pairs that gave it in `folder/nan_batch.json`.

    Of several processes each that has such a loss in that step writes a file, that of rank 1 `nan_batch-1.json`; all stop, and name
    the first. Losses are looked at where `check` is called (by `Checkpoints`, on logging steps and before it saves), before a validation
    and at the end: a look at each would keep the GPU waiting for the host.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._batches: list[_Batch] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, _: L.LightningModule, outputs: Any, batch: TrainingPair, batch_idx: int
    ) -> None:
        self._batches.append(_Batch(trainer.global_step, batch_idx, outputs["loss"], batch["key"]))

    def on_validation_start(self, trainer: L.Trainer, _: L.LightningModule) -> None:
        self.check(trainer)

    def on_train_end(self, trainer: L.Trainer, _: L.LightningModule) -> None:
        self.check(trainer)

    def check(self, trainer: L.Trainer, signalled: bool = False) -> bool:
        """Look at the losses since the last call; whether any process was `signalled`, which costs nothing beside.

        All processes must call it at the same step. Raises UserError on all of them if one has a loss that is no number: those
        with a good loss would wait for the others for ever.
        """
        batches, self._batches = self._batches, []
        mine = torch.zeros((), dtype=torch.int64, device=trainer.strategy.root_device)
        if batches:
            # The first that is no number, counted from the last batch; 0 where all are good.
            wrong = ~torch.stack([batch.loss for batch in batches]).isfinite()
            mine = (wrong * torch.arange(len(batches), 0, -1, device=wrong.device)).amax()
        # Of the processes whose first one is the oldest, that of the lowest rank is the largest here.
        ranks = trainer.world_size
        oldest, any_signal = largest(mine * ranks + ranks - 1 - trainer.global_rank, torch.full_like(mine, signalled))
        age, rank = oldest // ranks, ranks - 1 - oldest % ranks
        if age:
            self._stop(trainer, batches[-age], rank)
        return bool(any_signal)

    def _stop(self, trainer: L.Trainer, batch: _Batch, rank: int) -> None:
        """Write this process's pairs if its loss is no number, and name the file of `rank`, whose loss is none for sure."""
        if not torch.isfinite(batch.loss):
            sequences = trainer.datamodule.train.sequences  # type: ignore[attr-defined]
            pairs = [
                {
                    "sequence": sequences[s].name,
                    "anchor": sequences[s].frames[a].stem,
                    "frame": sequences[s].frames[f].stem,
                }
                for s, a, f in batch.key.tolist()
            ]
            content = {"step": batch.step, "batch": batch.number, "loss": str(batch.loss.item()), "pairs": pairs}
            write_json(self._file(trainer.global_rank), content)
        trainer.strategy.barrier()  # the file is there before anyone names it, or ends the others
        where = f" on rank {rank}" if trainer.world_size > 1 else ""
        raise UserError(
            f"the loss of step {batch.step} is no number{where}; its pairs are in {self._file(rank)}, and the checkpoints "
            "are of before: try a lower optim.optimizer.lr, or trainer.gradient_clip_val"
        )

    def _file(self, rank: int) -> Path:
        return self._folder / (f"nan_batch-{rank}.json" if rank else "nan_batch.json")


def largest(*numbers: Tensor) -> list[int]:
    """The largest of each number over all processes: one reduction, and one wait for the device, for all of them."""
    stacked = torch.stack(numbers)
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(stacked, dist.ReduceOp.MAX)
    found: list[int] = stacked.tolist()
    return found
