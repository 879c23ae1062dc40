"""What is done to probabilities after the network: the published gate, a guided filter, and what users add."""

import typing
from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt
import torch

from adnet.data.masks import Probability
from adnet.data.pictures import Frame
from adnet.models import upsample

_OPENING = np.ones((15, 15), np.uint8)
_DILATION = np.ones((101, 101), np.uint8)

RADIUS = 5
"""Radius of the guided filter's windows in pixels of the test size."""

EPSILON = 0.001
"""Variance of a frame's brightness, in [0, 1], below which a window counts as flat (the filter's epsilon)."""


class Postprocess(typing.Protocol):
    """Any object with these two methods, e.g. `adnet.instance_pruning.rules.InstancePruning`."""

    def start(self, video: str, frames: Iterable[Frame]) -> None:
        """Begin a video, before its first frame; `frames` lazily yields all in order, RGB uint8 `[H, W, 3]`."""

    def step(self, frame: str, probability: Probability) -> Probability:
        """Change the probability of a frame, float32 `[H, W]` in [0, 1]; called once for each, by its name, in time order."""
        ...


def gate(logits: npt.NDArray[np.float32], previous: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.float32]:
    """Set logits `[H, W]` far from the previous mask to 0, below the published threshold. It is not in the paper.

    `previous` `[H, W]` is the mask of the frame before, BEFORE its own gate; None for the first frame. Unless it has more than
    5,000 and fewer than 100,000 pixels, at any size of frame, the logits are returned as they are. It is opened with a square
    of 15 pixels and dilated with one of 101.
    """
    if previous is None or not 5_000 < np.count_nonzero(previous) < 100_000:
        return logits
    opened = cv2.morphologyEx(previous.astype(np.uint8), cv2.MORPH_OPEN, _OPENING)
    gated: npt.NDArray[np.float32] = logits * cv2.dilate(opened, _DILATION)
    return gated


def guided_filter(frame: Frame, probability: Probability) -> Probability:
    """Enlarge `probability` `[h, w]` in [0, 1], of the test size, to `frame`, RGB uint8 `[H, W, 3]`, along the frame's outlines.

    This is the guided filter (He, Sun and Tang, TPAMI 2013), whose guide is the frame's brightness; it is not in the paper. In
    each window the result is a linear function of the brightness: a, b of Eq. 5 and 6, averaged over the windows that hold a
    pixel (Eq. 8). They are computed at the test size and enlarged (He and Sun, "Fast Guided Filter", arXiv:1505.00996).
    """
    brightness = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) / np.float32(255)
    guide = _resized(brightness[None], probability.shape)[0]
    guide_mean, mean = _window_mean(guide), _window_mean(probability)
    variance = _window_mean(guide * guide) - guide_mean * guide_mean
    a = np.asarray((_window_mean(guide * probability) - guide_mean * mean) / (variance + EPSILON), np.float32)
    b = mean - a * guide_mean
    slope, offset = _resized(np.stack([_window_mean(a), _window_mean(b)]), brightness.shape)
    return np.asarray(np.clip(slope * brightness + offset, 0, 1), np.float32)


def _window_mean(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.blur(values, (2 * RADIUS + 1, 2 * RADIUS + 1)), np.float32)


def _resized(fields: npt.NDArray[np.float32], size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Resize `[K, h, w]` to `[K, H, W]` as frames and logits are, so that all lie on one grid."""
    return upsample(torch.from_numpy(fields)[None], (size[0], size[1]))[0].numpy()
