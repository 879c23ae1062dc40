"""Log the norm of the gradient."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer


class GradientNorm(Callback):
    """Log `train/gradient_norm`: the L2 norm over all parameters, for the whole batch, before any clipping."""

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, _: Optimizer) -> None:
        if (trainer.global_step + 1) % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined] # other steps are not logged
            gradients = (parameter.grad for parameter in pl_module.parameters() if parameter.grad is not None)
            pl_module.log("train/gradient_norm", get_total_norm(gradients))
