"""Post-process the probabilities of a video."""

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
