"""The gate of the published evaluation, which the paper doesn't mention."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

_OPENING = np.ones((15, 15), np.uint8)
_DILATION = np.ones((101, 101), np.uint8)


def gate(logits: npt.NDArray[np.float32], previous: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.float32]:
    """Set logits far from the previous mask to 0, which is below the published threshold.

    Args:
        logits: `[H, W]`.
        previous: `[H, W]`, the mask of the frame before as it was BEFORE its own gate; None at the first frame.

    Nothing happens unless the mask has more than 5,000 and fewer than 100,000 pixels, whatever the size of the frame.
    Else it is opened with a square of 15 pixels, which removes specks, and dilated with one of 101.
    """
    if previous is None or not 5_000 < np.count_nonzero(previous) < 100_000:
        return logits
    opened = cv2.morphologyEx(previous.astype(np.uint8), cv2.MORPH_OPEN, _OPENING)
    gated: npt.NDArray[np.float32] = logits * cv2.dilate(opened, _DILATION)
    return gated
