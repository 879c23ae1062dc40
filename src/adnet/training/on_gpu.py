"""What makes training faster on a GPU alone."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from typing import Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from adnet.models.recomputation import recomputes

LONG = 5000
"""Steps from which on compiling, a matter of minutes, is taken to be worth its time."""


class OnGPU(Callback):
    """Set up a training that is on a GPU; on any other device nothing is done.

    Args:
        matmul_precision: of float32 matrix products, see `torch.set_float32_matmul_precision`: `"high"` is TF32, which cuDNN's
            convolutions take by themselves, `"highest"` leaves the products alone.
        compiled: have `torch.compile` compile the network, in the first step; None: where there are `LONG` steps or more. It is left
            out with several devices, for their synchronised batch norm, where blocks are computed again, which it would undo, and
            where Triton or a C compiler is missing.
    """

    def __init__(
        self, matmul_precision: Literal["highest", "high", "medium"] = "high", compiled: bool | None = None
    ) -> None:
        self._matmul_precision = matmul_precision
        self._compiled = compiled

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Called on each process before its network is where it trains."""
        if trainer.strategy.root_device.type != "cuda" or stage != "fit":
            return
        torch.set_float32_matmul_precision(self._matmul_precision)
        possible = trainer.world_size == 1 and not recomputes(pl_module.model) and _can_compile()  # type: ignore[arg-type]
        wanted = trainer.max_steps >= LONG if self._compiled is None else self._compiled
        if wanted and possible:
            pl_module.compile_network()  # type: ignore[operator]


def _can_compile() -> bool:
    return find_spec("triton") is not None and any(map(shutil.which, ("cc", "gcc", "clang")))
