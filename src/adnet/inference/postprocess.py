"""Postprocessing of the network's probabilities: the published gate, a guided filter, and the users' own."""

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
        """Change the probability of a frame, float32 `[H, W]` in [0, 1]; called once per frame, with its name, in time order."""
        ...


def gate(logits: npt.NDArray[np.float32], previous: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.float32]:
    """Set logits `[H, W]` far from the previous mask to 0, which is below the published threshold. Not in the paper.

    `previous` `[H, W]` is the previous frame's mask, BEFORE its own gate; None for the first frame. It is opened with a 15x15
    square and dilated with a 101x101 square. Unless it has more than 5,000 and fewer than 100,000 pixels, at any frame size,
    the logits are returned unchanged.
    """
    if previous is None or not 5_000 < np.count_nonzero(previous) < 100_000:
        return logits
    opened = cv2.morphologyEx(previous.astype(np.uint8), cv2.MORPH_OPEN, _OPENING)
    gated: npt.NDArray[np.float32] = logits * cv2.dilate(opened, _DILATION)
    return gated


def guided_filter(frame: Frame, probability: Probability) -> Probability:
    """Upsample `probability` `[h, w]` in [0, 1] from the test size to that of `frame`, RGB uint8 `[H, W, 3]`, along its edges.

    This is the guided filter (He, Sun and Tang, TPAMI 2013), guided by the frame's brightness; it is not in the paper. In each
    window, the result is a linear function of the brightness, with a and b of Eq. 5 and 6. These are averaged over all windows
    that contain a pixel (Eq. 8), at the test size, then upsampled (He and Sun, "Fast Guided Filter", arXiv:1505.00996).
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
    """Resize `[K, h, w]` to `[K, H, W]` like frames and logits, so that all are on one grid."""
    return upsample(torch.from_numpy(fields)[None], (size[0], size[1]))[0].numpy()
