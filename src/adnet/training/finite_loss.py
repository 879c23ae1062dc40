"""Stop a training whose loss is not finite, before damaged weights are saved."""

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
    """A batch that is not checked yet: its `loss` (scalar) and its pairs' `key` `[B, 3]` are still on the device."""

    step: int
    number: int
    loss: Tensor
    key: Tensor


class FiniteLoss(Callback):
    """Stop at a loss of NaN or infinity, and write the pairs that caused it to `folder/nan_batch.json`.

    With several processes, each with such a loss in that step writes a file (rank 1: `nan_batch-1.json`); all of them stop
    and name the file of the lowest such rank. Losses are checked when `Checkpoints` calls `check` (on logging steps and
    before saving), before a validation and at the end. Checking each step would make the GPU wait for the host.
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
        """Check the losses since the last call. Returns whether any process was `signalled`, in the same reduction.

        All processes must call this at the same step. Raises UserError on all of them if any has a loss that is not finite,
        because the others would wait for it forever.
        """
        batches, self._batches = self._batches, []
        own_age = torch.zeros((), dtype=torch.int64, device=trainer.strategy.root_device)
        if batches:
            # How many batches ago the first such loss was (the last batch: 1), or 0 if all are finite.
            wrong = ~torch.stack([batch.loss for batch in batches]).isfinite()
            own_age = (wrong * torch.arange(len(batches), 0, -1, device=wrong.device)).amax()
        # One number orders by age, then by rank: its maximum belongs to the lowest rank with the oldest such loss.
        ranks = trainer.world_size
        order = own_age * ranks + ranks - 1 - trainer.global_rank
        oldest, any_signal = largest(order, torch.full_like(own_age, signalled))
        age, rank = oldest // ranks, ranks - 1 - oldest % ranks
        if age:
            self._stop(trainer, batches[-age], rank)
        return bool(any_signal)

    def _stop(self, trainer: L.Trainer, batch: _Batch, rank: int) -> None:
        """Write the pairs of this process if its loss is not finite, and name the file of `rank`, whose loss is not."""
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
        trainer.strategy.barrier()  # the file exists before any process names it or ends the others
        where = f" on rank {rank}" if trainer.world_size > 1 else ""
        raise UserError(
            f"the loss of step {batch.step} is not finite{where}; its pairs are in {self._file(rank)}, and the checkpoints "
            "are from before: try a lower optim.optimizer.lr, or trainer.gradient_clip_val"
        )

    def _file(self, rank: int) -> Path:
        return self._folder / (f"nan_batch-{rank}.json" if rank else "nan_batch.json")


def largest(*numbers: Tensor) -> list[int]:
    """Return the maximum of each number over all processes, with a single reduction and a single wait for the device."""
    stacked = torch.stack(numbers)
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(stacked, dist.ReduceOp.MAX)
    return stacked.tolist()
