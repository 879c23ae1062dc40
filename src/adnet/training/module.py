"""Training of an ADNet as a LightningModule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from adnet.data.pairs import TrainingPair, ValidationPair
from adnet.metrics.validation import RegionSimilarity
from adnet.models import ADNet, upsample


class SegmentationModule(L.LightningModule):
    """Binary cross-entropy on logits upsampled to the mask (Section 4, Training); logs J on validation pairs.

    Args:
        model: the network.
        optimizer: parameter groups -> optimiser, e.g. a partial of `torch.optim.SGD`.
        schedule: optimiser -> learning-rate schedule, stepped once an iteration.
        new_layers_lr: factor on the learning rate of all layers but the pretrained backbone (1 in the paper).
        test_size: height and width in pixels of validation frames.
        model_config: what the model was built from, kept in checkpoints so that they can be opened by themselves.
        seed: of dropout; the pairs have their own.
    """

    def __init__(
        self,
        model: ADNet,
        optimizer: Callable[[list[dict[str, Any]]], Optimizer],
        schedule: Callable[[Optimizer], LRScheduler],
        new_layers_lr: float = 1.0,
        test_size: tuple[int, int] = (481, 857),
        model_config: dict[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters({"model": model_config, "test_size": list(test_size)})
        self.model = model.to(memory_format=torch.channels_last)
        self.test_size = test_size
        self._optimizer = optimizer
        self._schedule = schedule
        self._new_layers_lr = new_layers_lr
        self._seed = seed
        self._val_J = RegionSimilarity()

    def configure_optimizers(self) -> Any:
        """Two groups: the backbone at the base rate, everything else at `new_layers_lr` times it."""
        backbone = list(self.model.encoder.backbone.parameters())
        pretrained = {id(parameter) for parameter in backbone}
        new = [parameter for parameter in self.model.parameters() if id(parameter) not in pretrained]
        optimizer = self._optimizer([{"params": backbone}, {"params": new}])
        optimizer.param_groups[1]["lr"] *= self._new_layers_lr
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self._schedule(optimizer), "interval": "step"}}

    def on_train_batch_start(self, *_: Any) -> None:
        # Dropout too is a function of (seed, step), as the pairs are: a resumed run goes on as it would have.
        torch.manual_seed(
            int(np.random.SeedSequence([self._seed, self.global_step, self.global_rank]).generate_state(1)[0])
        )

    def training_step(self, batch: TrainingPair, _: int) -> Tensor:
        mask = batch["mask"].unsqueeze(1)
        logits, aux = self.model.forward_with_aux(as_input(batch["anchor"]), as_input(batch["frame"]))
        loss = self._cross_entropy(logits, mask)
        if aux is not None:
            loss = loss + self.model.aux_weight * self._cross_entropy(aux, mask)
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/lr", self.lr_schedulers().get_last_lr()[0])  # type: ignore[union-attr]
        return loss

    @staticmethod
    def _cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(
            upsample(logits, (mask.shape[-2], mask.shape[-1])), mask.to(logits.dtype)
        )

    def validation_step(self, batch: ValidationPair, _: int) -> None:
        anchor, frame = (upsample(as_input(batch[name]), self.test_size) for name in ("anchor", "frame"))
        mask = batch["mask"]
        logits = upsample(self.model(anchor, frame), (mask.shape[-2], mask.shape[-1]))
        self._val_J.update(logits[:, 0] > 0, mask, batch["key"])
        self.log("val/J", self._val_J, prog_bar=True)


def as_input(frames: Tensor) -> Tensor:
    """Frames uint8 `[B, 3, H, W]` -> float in [0, 1], channels last."""
    return frames.float().div(255).contiguous(memory_format=torch.channels_last)
