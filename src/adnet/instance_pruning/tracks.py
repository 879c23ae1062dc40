"""Link detections into tracks by the overlap of consecutive boxes (Section 4, Instance pruning)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from adnet.instance_pruning.detection import Detection, box_iou


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
