"""The "poly" learning-rate schedule (Section 4, Training)."""

from __future__ import annotations

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def poly(
    optimizer: Optimizer, horizon: PositiveInt, power: NonNegativeFloat = 0.9, warmup: NonNegativeInt = 0
) -> LambdaLR:
    """Multiply each learning rate by `(1 - iteration / horizon) ** power`. Step the schedule once per iteration.

    The paper's horizon is 40,000 for 30,000 iterations; beyond the horizon, the factor is 0. It rises linearly during the
    first `warmup` iterations (0 in the paper).
    """

    def factor(iteration: int) -> float:
        decay: float = max(0.0, 1 - iteration / horizon) ** power
        return decay * min(1.0, (iteration + 1) / (warmup + 1))

    return LambdaLR(optimizer, factor)
