"""Average each probability with those of earlier frames, warped along the optical flow. Beyond the paper."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from adnet.data.flow import OpticalFlow, moved
from adnet.data.masks import Probability
from adnet.data.pictures import Frame

WEIGHT = 0.85
"""The largest share of earlier frames in a pixel's average."""

TOLERANCE = 10.0
"""Difference in grey levels, between a pixel and its origin by the flow, at which earlier frames' share falls to 1/e of `WEIGHT`."""

BLOCK, WARM_UP = 96, 32
"""Frames in a block of the video, and how many frames before a block its average begins."""

_NEIGHBOURHOOD = 5, 5
"""Pixels that the difference in grey levels is averaged over."""


@dataclass(frozen=True)
class Link:
    """What connects a frame with the previous one, at the size `[h, w]` of the optical flow.

    Args:
        flow: to the previous frame, `[h, w, 2]`, in pixels of its own grid.
        share: of earlier frames in the average, `[h, w]` in [0, WEIGHT]: less where the two frames look different, because the
            flow is wrong or something has come into view.
    """

    flow: npt.NDArray[np.float32]
    share: npt.NDArray[np.float32]


def link(frame: Frame, before: Frame, method: OpticalFlow) -> Link:
    """Compute how `frame` is linked to the frame `before`, both RGB uint8 `[H, W, 3]`."""
    flow = method.vectors(frame, before)
    now, then = (method.grey(image).astype(np.float32) for image in (frame, before))
    difference = cv2.blur(np.abs(now - moved(then, flow)), _NEIGHBOURHOOD)
    return Link(flow, np.asarray(WEIGHT * np.exp(-((difference / TOLERANCE) ** 2)), np.float32))


class TemporalAverage:
    """Average the probabilities of a video's frames, one call per frame, in time order.

    The average is recursive: each frame adds its probability to the average of earlier frames. So that an interrupted video
    can be continued without its first frames, each block of `BLOCK` frames has its own average, which begins `WARM_UP` frames
    before the block. At the block's start, still earlier frames would have a share of less than 1 % (0.85^32).
    """

    def __init__(self) -> None:
        self._index = 0
        self._averages: dict[int, npt.NDArray[np.float32]] = {}

    def step(self, probability: Probability, link: Link | None) -> Probability:
        """Average the next frame's `probability`, float32 `[H, W]`; without a `link` to the previous frame, it stays unchanged."""
        blocks = range(self._index // BLOCK, (self._index + WARM_UP) // BLOCK + 1)
        self._index += 1
        if link is None:
            self._averages = dict.fromkeys(blocks, probability)
            return probability
        size = link.share.shape[::-1]
        own = cv2.resize(probability, size, interpolation=cv2.INTER_AREA)
        changes = {block: self._change(block, own, link) for block in blocks}
        self._averages = {block: own + change for block, change in changes.items()}
        change = cv2.resize(changes[blocks[0]], probability.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(np.clip(probability + change, 0, 1), np.float32)

    def _change(self, block: int, own: npt.NDArray[np.float32], link: Link) -> npt.NDArray[np.float32]:
        if (average := self._averages.get(block)) is None:
            return np.zeros_like(own)
        average = np.asarray(cv2.resize(average, own.shape[::-1], interpolation=cv2.INTER_AREA), np.float32)
        return link.share * (moved(average, link.flow) - own)

    def skip(self) -> None:
        """Skip the next frame, which ends the averages."""
        self._index += 1
        self._averages = {}


def first_needed(done: int) -> int:
    """Return the number of the first frame that must be segmented again to continue after `done` frames."""
    return max(done // BLOCK * BLOCK - WARM_UP, 0)
