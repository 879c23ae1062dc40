from __future__ import annotations

from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from adnet.training.weight_averaging import WeightAveraging

DECAY = 0.3


class Counting(L.LightningModule):
    """One weight that is k after the k-th step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.validated: list[float] = []

    def training_step(self, _: Tensor, __: int) -> Tensor:
        return -self.weight.sum()

    def validation_step(self, _: Tensor, __: int) -> None:
        self.validated.append(self.weight.item())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=1.0)


def test_validation_and_the_end_of_a_fit_see_the_average() -> None:
    """The decay grows over the first steps: 2/11, 3/12, 4/13, then what was asked for."""
    expected = [1.0]
    for step, decay in zip(range(2, 7), (2 / 11, 3 / 12, DECAY, DECAY, DECAY), strict=True):
        expected.append(decay * expected[-1] + (1 - decay) * step)
    module, loader = Counting(), DataLoader(torch.zeros(3, 1), 1)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=[WeightAveraging(DECAY)],
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        logger=False,
    )
    trainer.fit(module, loader, DataLoader(torch.zeros(1, 1), 1))
    assert module.validated == pytest.approx([expected[2], expected[5]])
    assert module.weight.item() == pytest.approx(expected[5])
