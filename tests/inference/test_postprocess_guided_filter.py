from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adnet.errors import UserError
from adnet.inference import Protocol
from adnet.inference.postprocess import guided_filter, window_radius


def windows(values: np.ndarray, radius: int) -> np.ndarray:
    """The window of each pixel, `[H, W, K]`, mirrored at the rim."""
    padded = np.pad(values.astype(float), radius, mode="reflect")
    views = np.lib.stride_tricks.sliding_window_view(padded, (2 * radius + 1, 2 * radius + 1))
    return views.reshape(*values.shape, -1)


def by_the_book(frame: np.ndarray, probability: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """Least squares in each window, by its normal equations (Eq. 4 of the article), then the mean over windows."""
    guide = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) / 255
    slopes, offsets = np.zeros(guide.shape), np.zeros(guide.shape)
    for row, column in np.ndindex(guide.shape):
        I, p = windows(guide, radius)[row, column], windows(probability, radius)[row, column]  # noqa: E741
        left = np.array([[(I * I).sum() + len(I) * epsilon, I.sum()], [I.sum(), len(I)]])
        slopes[row, column], offsets[row, column] = np.linalg.solve(left, np.array([(I * p).sum(), p.sum()]))
    return np.clip(windows(slopes, radius).mean(-1) * guide + windows(offsets, radius).mean(-1), 0, 1)


@pytest.mark.parametrize("radius", [1, 2])
def test_it_is_least_squares_in_each_window(radius: int) -> None:
    rng = np.random.default_rng(radius)
    frame = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    probability = rng.random((7, 9), dtype=np.float32)
    expected = by_the_book(frame, probability, radius, 0.001)
    np.testing.assert_allclose(guided_filter(frame, probability, radius, 0.001), expected, atol=1e-4)


@given(st.integers(0, 255), st.floats(0, 1, width=32), st.integers(1, 9))
def test_a_constant_stays(level: int, value: float, radius: int) -> None:
    frame = np.full((12, 16, 3), level, np.uint8)
    probability = np.full((12, 16), value, np.float32)
    np.testing.assert_allclose(guided_filter(frame, probability, radius), value, atol=1e-4)


def test_a_blurred_outline_moves_to_the_edge_of_the_frame() -> None:
    mask = np.zeros((60, 80), bool)
    mask[15:45, 20:60] = True
    frame = np.where(mask[..., None], np.uint8(200), np.uint8(40)).repeat(3, axis=2)
    blurred = cv2.GaussianBlur(np.roll(mask, 2, axis=1).astype(np.float32), (0, 0), 3)

    def wrong(probability: np.ndarray) -> int:
        return int(((probability > 0.5) != mask).sum())

    assert wrong(guided_filter(frame, blurred, 8)) < wrong(blurred) / 4


def test_the_window_grows_with_the_frame() -> None:
    assert window_radius(480, 257) == 8
    assert window_radius(1080, 257) == 18
    assert window_radius(240, 257) == 4
    assert window_radius(8, 257) == 1


def test_it_refines_probabilities_alone() -> None:
    with pytest.raises(UserError, match=r"protocol\.refine works on averaged probabilities"):
        Protocol("test", average="logits", refine=True)
