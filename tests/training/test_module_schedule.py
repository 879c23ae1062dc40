from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adnet.training import poly


def rates(steps: int, base: tuple[float, ...] = (0.005, 0.05), **options: float) -> list[list[float]]:
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in base]
    optimizer = torch.optim.SGD([{"params": [p], "lr": lr} for p, lr in zip(parameters, base, strict=True)])
    schedule = poly(optimizer, **options)  # type: ignore[arg-type]
    out = []
    for _ in range(steps):
        out.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return out


@given(horizon=st.integers(1, 60), power=st.floats(0.5, 2))
def test_closed_form_for_every_group(horizon: int, power: float) -> None:
    for iteration, (first, second) in enumerate(rates(horizon + 5, horizon=horizon, power=power)):
        factor = max(0.0, 1 - iteration / horizon) ** power
        assert first == pytest.approx(0.005 * factor)
        assert second == pytest.approx(0.05 * factor)


def test_the_paper_s_schedule() -> None:
    """Section 4: 0.005 (1 - iter / 40000)^0.9, of which 30,000 iterations are run."""
    schedule = poly(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.005), horizon=40000)
    factor = schedule.lr_lambdas[0]
    assert [0.005 * factor(i) for i in (0, 20000, 29999)] == pytest.approx(
        [0.005, 0.005 * 0.5**0.9, 0.005 * 0.250025**0.9]
    )


def test_warmup_rises_linearly_to_the_curve() -> None:
    with_warmup, without = (rates(10, horizon=20, warmup=warmup) for warmup in (4, 0))
    shares = [a[0] / b[0] for a, b in zip(with_warmup, without, strict=True)]
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1, 1])
