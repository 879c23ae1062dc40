from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from adnet.errors import UserError
from adnet.inference import Protocol
from adnet.inference.postprocess import EPSILON, RADIUS, guided_filter


def windows(values: np.ndarray) -> np.ndarray:
    """The window of each pixel, `[H, W, K]`, mirrored at the rim."""
    padded = np.pad(values.astype(float), RADIUS, mode="reflect")
    views = np.lib.stride_tricks.sliding_window_view(padded, (2 * RADIUS + 1, 2 * RADIUS + 1))
    return views.reshape(*values.shape, -1)


def aligned(field: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resized bilinearly so that corners stay corners."""
    places = np.meshgrid(
        *(np.linspace(0, old - 1, new) for old, new in zip(field.shape, size, strict=True)), indexing="ij"
    )
    return map_coordinates(field, places, order=1, mode="nearest")


def by_the_book(frame: np.ndarray, small: np.ndarray) -> np.ndarray:
    """Least squares in each window of the reduced frame, by its normal equations (Eq. 4 of the article), then the mean over windows."""
    size = small.shape
    brightness = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) / 255
    guide = aligned(brightness, size)
    slopes, offsets = np.zeros(size), np.zeros(size)
    for row, column in np.ndindex(size):
        x, y = windows(guide)[row, column], windows(small)[row, column]
        left = np.array([[(x * x).sum() + len(x) * EPSILON, x.sum()], [x.sum(), len(x)]])
        slopes[row, column], offsets[row, column] = np.linalg.solve(left, np.array([(x * y).sum(), y.sum()]))
    a, b = (aligned(windows(field).mean(-1), frame.shape[:2]) for field in (slopes, offsets))
    return np.clip(a * brightness + b, 0, 1)


def test_it_is_least_squares_in_each_window() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (22, 28, 3), dtype=np.uint8)
    probability = rng.random((11, 13), dtype=np.float32)
    np.testing.assert_allclose(guided_filter(frame, probability), by_the_book(frame, probability), atol=1e-4)


@given(st.integers(0, 255), st.floats(0, 1, width=32), st.integers(6, 14))
def test_a_constant_stays(level: int, value: float, height: int) -> None:
    frame = np.full((15, 20, 3), level, np.uint8)
    probability = np.full((height, 19), value, np.float32)
    np.testing.assert_allclose(guided_filter(frame, probability), value, atol=1e-4)


def test_a_blurred_outline_moves_to_the_edge_of_the_frame() -> None:
    mask = np.zeros((60, 80), bool)
    mask[15:45, 20:60] = True
    frame = np.where(mask[..., None], np.uint8(200), np.uint8(40)).repeat(3, axis=2)
    blurred = cv2.GaussianBlur(np.roll(mask, 2, axis=1).astype(np.float32), (0, 0), 3)
    small = aligned(blurred, (33, 45))

    def wrong(probability: np.ndarray) -> int:
        return int(((probability > 0.5) != mask).sum())

    assert wrong(guided_filter(frame, small)) < wrong(aligned(small, mask.shape)) / 4


def test_it_refines_probabilities_alone() -> None:
    with pytest.raises(UserError, match=r"protocol\.refine works on averaged probabilities"):
        Protocol("test", average="logits", refine=True)
