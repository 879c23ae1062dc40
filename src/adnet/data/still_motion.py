"""Make a second frame of a still image, in which camera and object have moved, so that stills teach motion, too."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from adnet.data.flow import reduced
from adnet.data.masks import Mask
from adnet.data.pictures import Frame

HEIGHT = 240
"""Height in pixels of the made frames: that to which `adnet.data.flow.OpticalFlow` reduces frames."""


def moved_apart(image: Frame, mask: Mask, rng: np.random.Generator) -> tuple[Frame, Frame]:
    """Return a still reduced to `HEIGHT` rows, and how it might have looked a frame earlier; both RGB uint8 `[h, w, 3]`.

    The camera moves by a small affine motion. The foreground of `mask` `[H, W]` moves by a larger one and bends smoothly; what
    it uncovers is filled with colours from around it. All randomness comes from `rng`.
    """
    frame = reduced(image, HEIGHT)
    height, width = frame.shape[:2]
    alpha = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    camera = _sampling_grid(frame.shape[:2], (width / 2, height / 2), rng, strength=0.4)
    before = cv2.remap(_without(frame, alpha), *camera, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    if not alpha.any():
        return frame, before
    rows, columns = np.nonzero(alpha)
    own = _sampling_grid(frame.shape[:2], (float(columns.mean()), float(rows.mean())), rng, strength=1.0)
    bend = cv2.resize(
        rng.normal(0, 0.006 * height, (4, 6, 2)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    across, down = own[0] + bend[..., 0], own[1] + bend[..., 1]
    cover = cv2.remap(alpha, across, down, cv2.INTER_LINEAR)[..., None]
    object_ = cv2.remap(frame, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return frame, np.asarray(np.rint(cover * object_ + (1 - cover) * before), np.uint8)


def _sampling_grid(
    size: tuple[int, int], centre: tuple[float, float], rng: np.random.Generator, strength: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Draw a shift, turn and zoom about `centre` (x, y): the columns and rows to sample from, float32 `[h, w]` each.

    With a `strength` of 1 the standard deviations are 3 % of the height, 3 degrees and 3 %.
    """
    shift = rng.normal(0, 0.03 * strength * size[0], 2)
    turn, zoom = rng.normal(0, 3 * strength), float(np.exp(rng.normal(0, 0.03 * strength)))
    matrix = cv2.getRotationMatrix2D(centre, turn, zoom)
    matrix[:, 2] += shift
    columns, rows = np.meshgrid(np.arange(size[1], dtype=np.float32), np.arange(size[0], dtype=np.float32))
    across, down = (np.asarray(a * columns + b * rows + c, np.float32) for a, b, c in matrix)
    return across, down


def _without(frame: Frame, alpha: npt.NDArray[np.float32]) -> Frame:
    """Fill the foreground, where `alpha` `[h, w]` is above 0, with the colours around it."""
    # A quarter of the size is enough for what is seen of it, and sixteen times as fast.
    small = cv2.resize(frame, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    hole = cv2.resize(alpha, small.shape[1::-1], interpolation=cv2.INTER_AREA) > 0
    hole = cv2.dilate(hole.astype(np.uint8), np.ones((3, 3), np.uint8))
    filled = cv2.resize(
        cv2.inpaint(small, hole, 2, cv2.INPAINT_TELEA), frame.shape[1::-1], interpolation=cv2.INTER_LINEAR
    )
    cover = cv2.dilate((alpha > 0).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    return np.where(cover[..., None], filled, frame)
