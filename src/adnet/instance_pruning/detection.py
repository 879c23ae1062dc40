"""An object that a detector found in a frame, the overlap of two, and tracks of one over frames (Section 4, Instance pruning)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torchvision import ops

from adnet.data.masks import Mask


class Box(NamedTuple):
    """Pixels `left <= x < right`, `top <= y < bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> int:
        """The area in pixels."""
        return (self.right - self.left) * (self.bottom - self.top)


@dataclass(frozen=True)
class Detection:
    """The mask of an object in a frame, stored cropped to its box because a video has thousands of them.

    `crop` is bool `[box.bottom - box.top, box.right - box.left]`; `size` is the frame's height and width in pixels; `score`
    is the detector's own, in [0, 1].
    """

    box: Box
    crop: Mask
    size: tuple[int, int]
    score: float = 1.0

    @classmethod
    def of(cls, mask: Mask, score: float = 1.0) -> Detection | None:
        """Crop a mask of the whole frame, bool `[H, W]`, to its bounding box; None if the mask is empty."""
        left, top, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
        if not width:
            return None
        box = Box(left, top, left + width, top + height)
        return cls(box, mask[box.top : box.bottom, box.left : box.right].copy(), mask.shape, score)

    @property
    def area(self) -> int:
        """The area of the mask in pixels."""
        return int(np.count_nonzero(self.crop))

    def paint(self, canvas: npt.NDArray[np.bool_]) -> None:
        """Set the pixels of the mask in `canvas`, bool `[H, W]`, in place."""
        canvas[self.box.top : self.box.bottom, self.box.left : self.box.right] |= self.crop


def intersection(a: Detection, b: Detection) -> int:
    """Count the pixels that belong to both masks."""
    left, top = max(a.box.left, b.box.left), max(a.box.top, b.box.top)
    right, bottom = min(a.box.right, b.box.right), min(a.box.bottom, b.box.bottom)
    if left >= right or top >= bottom:
        return 0
    crops = (
        detection.crop[
            top - detection.box.top : bottom - detection.box.top, left - detection.box.left : right - detection.box.left
        ]
        for detection in (a, b)
    )
    return int(np.count_nonzero(np.logical_and(*crops)))


def box_iou(a: Sequence[Box], b: Sequence[Box]) -> npt.NDArray[np.float64]:
    """Compute the intersection over union of each of N boxes with each of M: `[N, M]`, in [0, 1]."""
    first, second = (torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4) for boxes in (a, b))
    overlap: npt.NDArray[np.float64] = ops.box_iou(first, second).numpy()
    return overlap


@dataclass
class Track:
    """One instance over frames: its detections by the frame's position, in time order."""

    detections: dict[int, Detection] = field(default_factory=dict)

    @property
    def area(self) -> int:
        """Cumulative area of its masks over all frames, in pixels."""
        return sum(detection.area for detection in self.detections.values())


def link(frames: Sequence[Sequence[Detection]], iou: float, gap: int) -> list[Track]:
    """Link the detections of each frame to those of the frames before.

    Args:
        frames: detections of each frame, in time order.
        iou: a detection continues the track whose last box it overlaps by at least this much.
        gap: a track may be unseen for this many frames and still continue; 0 links consecutive frames only.

    Pairs are chosen greedily, the largest overlap first; a track gets at most one detection per frame. A detection without a
    track starts a new one, so that each detection is in exactly one track.
    """
    tracks: list[Track] = []
    for position, detections in enumerate(frames):
        alive = [track for track in tracks if position - next(reversed(track.detections)) <= gap + 1]
        last = [next(reversed(track.detections.values())).box for track in alive]
        overlap = box_iou(last, [detection.box for detection in detections])
        linked: dict[int, Track] = {}
        for flat in np.argsort(-overlap, axis=None, kind="stable"):
            i, j = divmod(int(flat), len(detections))
            if overlap[i, j] < iou:
                break
            if j not in linked and position not in alive[i].detections:
                linked[j] = alive[i]
                alive[i].detections[position] = detections[j]
        for j, detection in enumerate(detections):
            if j not in linked:
                tracks.append(Track({position: detection}))
    return tracks
