"""The size of the gradient."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import grad_norm
from torch.optim import Optimizer


class GradientNorm(Callback):
    """Logs `train/gradient_norm`: the L2 norm over all parameters, of the whole batch and before any clipping."""

    def on_before_optimizer_step(self, _: L.Trainer, pl_module: L.LightningModule, __: Optimizer) -> None:
        pl_module.log("train/gradient_norm", grad_norm(pl_module, norm_type=2)["grad_2.0_norm_total"])
