from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adnet.errors import UserError
from adnet.inference import Protocol
from adnet.inference.postprocess import EPSILON, RADIUS, guided_filter


def windows(values: np.ndarray) -> np.ndarray:
    """The window of each pixel, `[H, W, K]`, mirrored at the rim."""
    padded = np.pad(values.astype(float), RADIUS, mode="reflect")
    views = np.lib.stride_tricks.sliding_window_view(padded, (2 * RADIUS + 1, 2 * RADIUS + 1))
    return views.reshape(*values.shape, -1)


def by_the_book(frame: np.ndarray, probability: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Least squares in each window of the reduced frame, by its normal equations (Eq. 4 of the article), then the mean over windows."""
    brightness = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) / 255
    guide, small = cv2.resize(brightness, size[::-1]), cv2.resize(probability, size[::-1])
    slopes, offsets = np.zeros(size), np.zeros(size)
    for row, column in np.ndindex(size):
        x, y = windows(guide)[row, column], windows(small)[row, column]
        left = np.array([[(x * x).sum() + len(x) * EPSILON, x.sum()], [x.sum(), len(x)]])
        slopes[row, column], offsets[row, column] = np.linalg.solve(left, np.array([(x * y).sum(), y.sum()]))
    a, b = (cv2.resize(windows(field).mean(-1), frame.shape[1::-1]) for field in (slopes, offsets))
    return np.clip(a * brightness + b, 0, 1)


def test_it_is_least_squares_in_each_window() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (22, 28, 3), dtype=np.uint8)
    probability = rng.random((22, 28), dtype=np.float32)
    expected = by_the_book(frame, probability, (11, 13))
    np.testing.assert_allclose(guided_filter(frame, probability, (11, 13)), expected, atol=1e-4)


@given(st.integers(0, 255), st.floats(0, 1, width=32), st.integers(6, 14))
def test_a_constant_stays(level: int, value: float, height: int) -> None:
    frame = np.full((15, 20, 3), level, np.uint8)
    probability = np.full((15, 20), value, np.float32)
    np.testing.assert_allclose(guided_filter(frame, probability, (height, 19)), value, atol=1e-4)


def test_a_blurred_outline_moves_to_the_edge_of_the_frame() -> None:
    mask = np.zeros((60, 80), bool)
    mask[15:45, 20:60] = True
    frame = np.where(mask[..., None], np.uint8(200), np.uint8(40)).repeat(3, axis=2)
    blurred = cv2.GaussianBlur(np.roll(mask, 2, axis=1).astype(np.float32), (0, 0), 3)

    def wrong(probability: np.ndarray) -> int:
        return int(((probability > 0.5) != mask).sum())

    assert wrong(guided_filter(frame, blurred, (33, 45))) < wrong(blurred) / 4


@pytest.mark.parametrize("size", [(15, 20), (33, 57)])
def test_a_frame_that_was_not_reduced_stays(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    probability = rng.random((15, 20), dtype=np.float32)
    assert guided_filter(rng.integers(0, 256, (15, 20, 3), dtype=np.uint8), probability, size) is probability


def test_it_refines_probabilities_alone() -> None:
    with pytest.raises(UserError, match=r"protocol\.refine works on averaged probabilities"):
        Protocol("test", average="logits", refine=True)
