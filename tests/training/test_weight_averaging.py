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


def fitted(steps: int, precision: str = "32-true") -> Counting:
    module, loader = Counting(), DataLoader(torch.zeros(steps, 1), 1)
    trainer = L.Trainer(
        accelerator="cpu",
        precision=precision,
        max_epochs=2,
        callbacks=[WeightAveraging(DECAY)],
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        logger=False,
    )
    trainer.fit(module, loader, DataLoader(torch.zeros(1, 1), 1))
    return module


def test_validation_and_the_end_of_a_fit_see_the_average() -> None:
    """The decay grows over the first steps: 2/11, 3/12, 4/13, then what was asked for."""
    expected = [1.0]
    for step, decay in zip(range(2, 7), (2 / 11, 3 / 12, DECAY, DECAY, DECAY), strict=True):
        expected.append(decay * expected[-1] + (1 - decay) * step)
    module = fitted(3)
    assert module.validated == pytest.approx([expected[2], expected[5]])
    assert module.weight.item() == pytest.approx(expected[5])


def averages(steps: int) -> list[float]:
    """The average after each step, by the docstring's formula."""
    values = [1.0]
    for step in range(2, steps + 1):
        decay = min(DECAY, step / (9 + step))
        values.append(decay * values[-1] + (1 - decay) * step)
    return values


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16-true", 2**-8), ("64-true", 1e-14), ("32-true", 1e-6)])
def test_the_average_is_as_precise_as_the_weights_or_more(precision: str, tolerance: float) -> None:
    """Twice sixty whole numbers, which bf16 has exactly; validation in between must not round the average."""
    module = fitted(60, precision)
    expected = averages(120)
    assert module.validated == pytest.approx([expected[59], expected[119]], rel=tolerance)
    assert module.weight.item() == pytest.approx(expected[119], rel=tolerance)


def test_a_validation_without_a_fit_sees_the_weights() -> None:
    module = Counting()
    trainer = L.Trainer(
        accelerator="cpu",
        callbacks=[WeightAveraging(DECAY)],
        enable_progress_bar=False,
        enable_checkpointing=False,
        logger=False,
    )
    trainer.validate(module, DataLoader(torch.zeros(1, 1), 1), verbose=False)
    assert module.validated == [0]
