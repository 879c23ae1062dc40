"""Settings that make training faster on a GPU."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from typing import Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from adnet.models.recomputation import recomputes

LONG = 5000
"""Smallest number of steps for which compiling, which takes minutes, pays off."""


class OnGPU(Callback):
    """Set up a training on a GPU. Does nothing on other devices.

    Args:
        matmul_precision: precision of float32 matrix products (`torch.set_float32_matmul_precision`): `"high"` is TF32, which
            cuDNN's convolutions use by default, `"highest"` is full float32.
        compiled: compile the network with `torch.compile` in the first step; None: if there are `LONG` steps or more. Never
            done with several devices (because of synchronised batch norm), with recomputed blocks (compiling would undo that),
            or without Triton or a C compiler.
    """

    def __init__(
        self, matmul_precision: Literal["highest", "high", "medium"] = "high", compiled: bool | None = None
    ) -> None:
        self._matmul_precision = matmul_precision
        self._compiled = compiled

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Set precision and compile. Lightning calls this on each process before it moves the network to its device."""
        if trainer.strategy.root_device.type != "cuda" or stage != "fit":
            return
        torch.set_float32_matmul_precision(self._matmul_precision)
        possible = trainer.world_size == 1 and not recomputes(pl_module.model) and can_compile()  # type: ignore[arg-type]
        wanted = trainer.max_steps >= LONG if self._compiled is None else self._compiled
        if wanted and possible:
            pl_module.compile_network()  # type: ignore[operator]


def can_compile() -> bool:
    """Return whether `torch.compile` can generate code for a GPU here: with Triton and a C compiler."""
    return find_spec("triton") is not None and any(map(shutil.which, ("cc", "gcc", "clang")))
