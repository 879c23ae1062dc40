"""Draw a mask over its frame."""

from __future__ import annotations

import cv2
import numpy as np

from adnet.data.sequence import Frame, Mask

COLOUR = np.array([0xE0, 0x1E, 0x84])  # magenta: rare in nature, and distinct from white for all kinds of colour vision
OPACITY = 0.45


def draw_overlay(image: Frame, mask: Mask) -> Frame:
    """Tint and outline `mask` `[H, W]` in a copy of `image`, RGB uint8 `[H, W, 3]`.

    Examples:
        >>> drawn = draw_overlay(np.zeros((9, 9, 3), np.uint8), np.eye(9, dtype=bool))
        >>> drawn[0, 0].tolist(), drawn[0, 1].tolist()
        ([224, 30, 132], [0, 0, 0])
    """
    drawn = image.copy()
    drawn[mask] = np.rint((1 - OPACITY) * image[mask] + OPACITY * COLOUR)
    # The outline's width is relative to the picture's size; there is none at the picture's edge.
    side = 2 * max(1, round(min(mask.shape) / 240)) + 1
    inside = cv2.erode(mask.astype(np.uint8), np.ones((side, side), np.uint8))
    drawn[mask & (inside == 0)] = COLOUR
    return np.asarray(drawn)
