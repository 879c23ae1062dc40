"""Align a probability's outlines with a frame's, by the guided filter (He, Sun and Tang, TPAMI 2013). Beyond the paper."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from adnet.data.masks import Probability
from adnet.data.pictures import Frame

RADIUS = 4.3
"""Radius of the windows in pixels of the test size: 8 for a frame of 480 rows that is tested with 257."""

EPSILON = 0.001
"""Variance of a frame's brightness, in [0, 1], below which a window counts as flat (the filter's epsilon)."""


def window_radius(frame_height: int, test_height: int) -> int:
    """Return the radius in a frame's pixels, at least 1: what the network blurs is as wide as a pixel of the test size."""
    return max(1, round(RADIUS * frame_height / test_height))


def guided_filter(frame: Frame, probability: Probability, radius: int, epsilon: float = EPSILON) -> Probability:
    """Filter `probability` `[H, W]`, guided by the brightness of `frame`, RGB uint8 `[H, W, 3]`; the result is in [0, 1].

    In each window of 2 `radius` + 1 pixels the result is a linear function of the brightness: a, b of Eq. 5 and 6, averaged
    over the windows that hold a pixel (Eq. 8). Windows at the rim see the frame mirrored.
    """
    guide = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) / np.float32(255), np.float32)
    guide_mean, mean = _window_mean(guide, radius), _window_mean(probability, radius)
    variance = _window_mean(guide * guide, radius) - guide_mean * guide_mean
    covariance = _window_mean(guide * probability, radius) - guide_mean * mean
    slope = np.asarray(covariance / (variance + epsilon), np.float32)
    offset = mean - slope * guide_mean
    filtered = _window_mean(slope, radius) * guide + _window_mean(offset, radius)
    return np.asarray(np.clip(filtered, 0, 1), np.float32)


def _window_mean(values: npt.NDArray[np.float32], radius: int) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.blur(values, (2 * radius + 1, 2 * radius + 1)), np.float32)
