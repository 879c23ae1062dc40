"""What is done to probabilities after the network: the published gate, a guided filter, and what users add."""

from __future__ import annotations

import typing
from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt

from adnet.data.masks import Probability
from adnet.data.pictures import Frame

_OPENING = np.ones((15, 15), np.uint8)
_DILATION = np.ones((101, 101), np.uint8)

RADIUS = 4.3
"""Radius of the windows in pixels of the test size: 8 for a frame of 480 rows that is tested with 257."""

EPSILON = 0.001
"""Variance of a frame's brightness, in [0, 1], below which a window counts as flat (the filter's epsilon)."""


class Postprocess(typing.Protocol):
    """Any object with these two methods, e.g. `adnet.instance_pruning.rules.InstancePruning`."""

    def start(self, video: str, frames: Iterable[Frame]) -> None:
        """Begin a video: called once, before its first frame.

        `video` is its name; `frames` lazily yields all its frames in time order, RGB uint8 `[H, W, 3]`.
        """

    def step(self, frame: str, probability: Probability) -> Probability:
        """Change the probability of a frame, float32 `[H, W]` in [0, 1]. Called once for each frame, in time order.

        `frame` is the name of the frame in its video (`"00012"`).
        """
        ...


def gate(logits: npt.NDArray[np.float32], previous: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.float32]:
    """Set logits far from the previous mask to 0, which is below the published threshold. The paper does not mention this step.

    Args:
        logits: `[H, W]`.
        previous: `[H, W]`, the mask of the frame before, BEFORE its own gate; None for the first frame.

    Logits are returned unchanged unless the mask has more than 5,000 and fewer than 100,000 pixels, whatever the size of the
    frame. The mask is opened with a square of 15 pixels, which removes specks, and dilated with one of 101.
    """
    if previous is None or not 5_000 < np.count_nonzero(previous) < 100_000:
        return logits
    opened = cv2.morphologyEx(previous.astype(np.uint8), cv2.MORPH_OPEN, _OPENING)
    gated: npt.NDArray[np.float32] = logits * cv2.dilate(opened, _DILATION)
    return gated


def window_radius(frame_height: int, test_height: int) -> int:
    """Return the radius in a frame's pixels, at least 1: what the network blurs is as wide as a pixel of the test size."""
    return max(1, round(RADIUS * frame_height / test_height))


def guided_filter(frame: Frame, probability: Probability, radius: int, epsilon: float = EPSILON) -> Probability:
    """Align the outlines of `probability` `[H, W]` with those of `frame`, RGB uint8 `[H, W, 3]`; the result is in [0, 1].

    This is the guided filter (He, Sun and Tang, TPAMI 2013), whose guide is the frame's brightness; it is not in the paper.

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
