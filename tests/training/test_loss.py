"""Against sums over pixels, written out."""

from __future__ import annotations

import hydra
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from adnet.errors import UserError
from adnet.shared.command import conf_dir
from adnet.training.loss import Loss, boundary_loss, cross_entropy, outline_band, soft_iou_loss, total

SIZE = (9, 12)


def example(seed: int, share: float = 0.4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 1, *SIZE, generator=generator)
    coarse = torch.rand(2, 1, 3, 4, generator=generator) < share
    return logits, coarse.repeat_interleave(3, 2).repeat_interleave(3, 3)


def band_by_hand(mask: np.ndarray, width: int) -> np.ndarray:
    """For each pixel, whether both sides are in the square around it."""
    band = np.zeros_like(mask)
    for row, column in np.ndindex(*mask.shape):
        around = mask[max(0, row - width) : row + width + 1, max(0, column - width) : column + width + 1]
        band[row, column] = around.any() and not around.all()
    return band


def test_the_default_is_the_paper_s_bit_by_bit() -> None:
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        loss = instantiate(hydra.compose("train").loss)
    assert loss == Loss()
    logits, mask = example(0)
    assert torch.equal(total(loss(logits, mask)), binary_cross_entropy_with_logits(logits, mask.float()))


@given(seed=st.integers(0, 2**32), share=st.sampled_from([0.0, 0.3, 1.0]))
def test_soft_iou_is_the_sum_over_pixels(seed: int, share: float) -> None:
    logits, mask = example(seed, share)
    expected = []
    for frame, annotation in zip(logits.double().numpy(), mask.numpy(), strict=True):
        p = 1 / (1 + np.exp(-frame))
        expected.append(1 - (p[annotation].sum() + 1) / (annotation.sum() + p[~annotation].sum() + 1))
    assert float(soft_iou_loss(logits, mask)) == pytest.approx(np.mean(expected), abs=1e-5)


def test_soft_iou_of_certain_frames() -> None:
    _, mask = example(3)
    certain = torch.where(mask, 50.0, -50.0)
    assert float(soft_iou_loss(certain, mask)) == pytest.approx(0, abs=1e-6)
    assert float(soft_iou_loss(-certain, mask)) > 0.98
    nothing = torch.zeros_like(mask)
    assert float(soft_iou_loss(torch.full_like(certain, -50), nothing)) == pytest.approx(0, abs=1e-6)


@given(seed=st.integers(0, 2**32), width=st.integers(1, 4), share=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_the_band_is_where_both_sides_are_near(seed: int, width: int, share: float) -> None:
    _, mask = example(seed, share)
    expected = np.stack([band_by_hand(one[0], width) for one in mask.numpy()])
    np.testing.assert_array_equal(outline_band(mask, width)[:, 0], expected)


@given(seed=st.integers(0, 2**32), width=st.integers(1, 3))
def test_boundary_is_the_cross_entropy_in_the_band(seed: int, width: int) -> None:
    logits, mask = example(seed)
    band = outline_band(mask, width)
    if band.any():
        expected = binary_cross_entropy_with_logits(logits[band], mask[band].float())
        torch.testing.assert_close(boundary_loss(logits, mask, width), expected)


def test_a_batch_without_an_outline_has_no_boundary_term() -> None:
    logits = torch.randn(1, 1, *SIZE, requires_grad=True)
    loss = boundary_loss(logits, torch.ones(1, 1, *SIZE, dtype=torch.bool), 2)
    loss.backward()
    assert (loss.item(), bool(logits.grad.any())) == (0.0, False)


def test_terms_are_weighted_and_added() -> None:
    logits, mask = example(1)
    expected = {
        "bce": cross_entropy(logits, mask),
        "soft_iou": 0.5 * soft_iou_loss(logits, mask),
        "boundary": 2 * boundary_loss(logits, mask, 3),
    }
    terms = Loss(soft_iou=0.5, boundary=2.0, boundary_width=3)(logits, mask)
    torch.testing.assert_close(terms, expected)
    torch.testing.assert_close(total(terms), sum(expected.values()))
    assert list(Loss(bce=0.0, boundary=1.0)(logits, mask)) == ["boundary"]
    with pytest.raises(
        UserError, match=r"all losses have weight 0: give one of loss\.bce, loss\.soft_iou, loss\.boundary$"
    ):
        Loss(bce=0.0)


def test_half_precision_does_not_overflow() -> None:
    """A frame of 481x857 has more pixels than float16 has numbers for."""
    logits, mask = torch.full((1, 1, 481, 857), 4.0, dtype=torch.float16), torch.ones(1, 1, 481, 857, dtype=torch.bool)
    assert float(soft_iou_loss(logits, mask)) == pytest.approx(1 - 1 / (1 + np.exp(-4)), abs=1e-3)
