import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adnet.inference.postprocess import gate

SIZE = (480, 854)


def box(top, left, height, width):
    mask = np.zeros(SIZE, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_the_first_frame_has_no_gate():
    logits = np.ones(SIZE, np.float32)
    assert gate(logits, None) is logits


@pytest.mark.parametrize(
    ("pixels", "gated"), [(0, False), (5_000, False), (5_001, True), (99_999, True), (100_000, False), (200_000, False)]
)
def test_neither_small_nor_large_masks_gate(pixels, gated):
    previous = np.zeros(SIZE, bool)
    previous.T.flat[:pixels] = True  # whole columns, so that opening leaves them
    logits = -np.ones(SIZE, np.float32)
    assert (gate(logits, previous) == 0).any() == gated


def test_what_is_near_the_mask_stays_and_the_rest_is_zero():
    previous = box(200, 300, 80, 90)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=SIZE).astype(np.float32)
    near = box(200 - 50, 300 - 50, 80 + 100, 90 + 100)
    assert np.array_equal(gate(logits, previous), np.where(near, logits, 0))


def test_specks_do_not_open_the_gate():
    previous = box(200, 300, 80, 90) | box(20, 700, 14, 14)
    assert gate(np.ones(SIZE, np.float32), previous)[27, 707] == 0
    previous |= box(20, 700, 15, 15)
    assert gate(np.ones(SIZE, np.float32), previous)[27, 707] == 1


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(60, 200))
def test_against_sliding_windows(seed, count, side):
    """Erosion, dilation and dilation by their definitions, on the cumulative sum of the mask."""
    rng = np.random.default_rng(seed)
    previous = np.zeros((160, 200), bool)
    for top, left in rng.integers(0, 150, (count, 2)):
        previous[top : top + side // 4, left : left + side // 3] = True
    logits = rng.normal(size=previous.shape).astype(np.float32)

    def windows(mask, side, outside):
        """Pixels of `mask` in the square of `side` around each pixel, with `outside` beyond the border."""
        r = side // 2
        padded = np.pad(np.pad(mask, r, constant_values=outside).astype(int), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
        return padded[side:, side:] - padded[:-side, side:] - padded[side:, :-side] + padded[:-side, :-side]

    eroded = windows(previous, 15, outside=True) == 15 * 15
    opened = windows(eroded, 15, outside=False) > 0
    region = windows(opened, 101, outside=False) > 0
    expected = np.where(region, logits, 0) if 5_000 < previous.sum() < 100_000 else logits
    assert np.array_equal(gate(logits, previous), expected)
