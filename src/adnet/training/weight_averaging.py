"""Keep an exponential moving average of the weights, used for validation, checkpoints and the final scores."""

from functools import partial

import lightning as L
import torch
from lightning.pytorch import callbacks
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from adnet.shared.value_types import Proportion


class WeightAveraging(callbacks.WeightAveraging):
    """Average the weights and running statistics over steps: `average = decay * average + (1 - decay) * weights`.

    It stabilises training with small batches (compare Izmailov et al., arXiv:1803.05407). A checkpoint's `state_dict`
    holds the average, in float32 at least, because bf16 would round small steps to nothing; the weights to resume from
    are beside it. It spans about `1 / (1 - decay)` steps, early in training a ninth of them (`(1 + n) / (10 + n)`).
    """

    def __init__(self, decay: Proportion = 0.99) -> None:
        super().__init__(use_buffers=True, multi_avg_fn=partial(_update, decay))
        self._training_weights: list[Tensor] = []

    def on_fit_start(self, _: L.Trainer, pl_module: L.LightningModule) -> None:
        """Convert the average, which was made before Lightning converted the weights to the trainer's precision."""
        assert self._average_model is not None
        self._average_model.to(torch.promote_types(torch.float32, next(pl_module.parameters()).dtype))

    def on_validation_epoch_start(self, _: L.Trainer, pl_module: L.LightningModule) -> None:
        """Replace the weights by the average; Lightning would swap the two, which rounds the average to the weights' precision."""
        if self._average_model is not None:
            self._training_weights = [tensor.clone() for tensor in _tensors(pl_module)]
            self._copy_average_to_current(pl_module)

    def on_validation_epoch_end(self, _: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the weights back, if they were replaced: outside of a fit there is no average."""
        if not self._training_weights:
            return
        for tensor, weights in zip(_tensors(pl_module), self._training_weights, strict=True):
            tensor.copy_(weights)
        self._training_weights = []

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the weights: the last checkpoint is saved now, and training may resume from it."""

    def on_fit_end(self, _: L.Trainer, pl_module: L.LightningModule) -> None:
        """Replace the weights by the average."""
        self._copy_average_to_current(pl_module)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]


def _update(decay: float, average: list[Tensor], current: list[Tensor], number: Tensor | int) -> None:
    """Move the average, of `number` steps so far, towards the current weights."""
    rate = min(decay, float((1 + number) / (10 + number)))
    current = [weights.to(kept.dtype) for kept, weights in zip(average, current, strict=True)]
    get_ema_multi_avg_fn(rate)(average, current, number)  # type: ignore[no-untyped-call]
