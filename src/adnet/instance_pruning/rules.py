"""Instance pruning (Section 4): what belongs to a small or short-lived instance is no foreground.

    pruning = InstancePruning(Precomputed("detections.json"))
    pruning.start("bear", frames)
    probability = pruning.step("00000", probability)

The paper leaves its hyper-parameters to a supplement; ours were chosen on the training videos of DAVIS-2016, see
`experiments/instance_pruning`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from adnet.data.sequence import Frame, Probability
from adnet.errors import UserError
from adnet.instance_pruning.detection import Detection, box_iou, intersection
from adnet.instance_pruning.detectors import Detector
from adnet.instance_pruning.tracks import Track, link


class Verdict(NamedTuple):
    """On one frame's detections: pixels of `pruned` become 0, unless one of `protected` has them, too."""

    pruned: list[Detection]
    protected: list[Detection]


class Pruning(ABC):
    """A `Postprocess` that multiplies probabilities with a filter made from detections: 0 on pruned instances, 1 elsewhere.

    Where no detection lies, the probability stays as it is. `margin`: pruned masks grow by so many pixels.
    """

    def __init__(self, detector: Detector, margin: int = 0) -> None:
        self.detector = detector
        self.margin = np.ones((1, 1), np.uint8)
        if margin:
            self.margin = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
        self._verdicts: dict[str | int, Verdict] = {}
        self._video, self._position, self._frames, self._used = "", 0, 0, 0

    @abstractmethod
    def judge(self, detections: Sequence[Sequence[Detection]], frames: int) -> list[Verdict]:
        """Of each frame with detections, in time order. The video has `frames` frames; in some of them there may be none."""

    def start(self, video: str, frames: Iterable[Frame]) -> None:
        """Detect and judge the whole video. The cost is the detector's."""
        detected = self.detector.detect(video, frames)
        # A file of results doesn't name frames in which there is nothing.
        seen = {frame: detections for frame, detections in detected.detections.items() if detections}
        self._verdicts = dict(zip(seen, self.judge(list(seen.values()), detected.frames), strict=True))
        self._video, self._frames, self._position, self._used = video, detected.frames, 0, 0

    def step(self, frame: str, probability: Probability) -> Probability:
        """Raises UserError for detections at another size, and at the last frame if no detection was in any frame."""
        verdict = self._verdicts.get(frame) or self._verdicts.get(self._position)
        self._position += 1
        self._used += verdict is not None
        if self._verdicts and not self._used and self._position == self._frames:
            raise UserError(
                f"the detections of the video {self._video!r} are in frames that it hasn't, such as "
                f"{next(iter(self._verdicts))!r}; it has {frame!r}: name them alike"
            )
        if not verdict or not verdict.pruned:
            return probability
        pruned, protected = (np.zeros(probability.shape, bool) for _ in verdict)
        for canvas, detections in zip((pruned, protected), verdict, strict=True):
            for detection in detections:
                if detection.size != probability.shape:
                    raise UserError(
                        f"a detection in {self._video}/{frame} is {detection.size[0]}x{detection.size[1]} but the frame "
                        f"{probability.shape[0]}x{probability.shape[1]} (height x width); detect at the frame's size"
                    )
                detection.paint(canvas)
        grown = cv2.dilate(pruned.view(np.uint8), self.margin).view(bool)
        return np.where(grown & ~protected, np.float32(0), probability)


class InstancePruning(Pruning):
    """Prune tracks whose masks are small over the whole video, or that are in a part of it only (Section 4).

    Args:
        detector: see `adnet.instance_pruning.detectors`.
        part: a detection is another view of a kept one of its frame if more than this share of the smaller mask is in both.
        iou: detections of consecutive frames with boxes that overlap by this much are one instance.
        gap: in so many frames, of those with any detection, a track may be unseen.
        area: least cumulative mask area of a track that is kept, as a share of the largest track's, in [0, 1].
        presence: least share of the video's frames that a kept track is in, in [0, 1].
        margin: pruned masks grow by so many pixels, since the network's border isn't the detector's.

    Three exceptions, since detectors lose an object and see it twice. The track with the largest cumulative area is always
    kept. What a kept track covers is never pruned, and neither is another view of the same object. In a frame where the
    largest track is not seen nothing is pruned: what is there may be a piece of the object's own track.
    """

    def __init__(
        self, detector: Detector, part: float, iou: float, gap: int, area: float, presence: float, margin: int = 0
    ) -> None:
        super().__init__(detector, margin)
        self.part, self.iou, self.gap, self.area, self.presence = part, iou, gap, area, presence

    def judge(self, detections: Sequence[Sequence[Detection]], frames: int) -> list[Verdict]:
        tracks = link(detections, self.iou, self.gap)
        main = max(tracks, key=lambda track: track.area, default=Track())
        verdicts = [Verdict([], []) for _ in detections]
        for track in tracks:
            kept = track.area >= self.area * main.area and len(track.detections) >= self.presence * frames
            for position, detection in track.detections.items():
                verdict = verdicts[position]
                (verdict.protected if kept or track is main else verdict.pruned).append(detection)
        return [
            keep_related(verdict, self.part) if position in main.detections else Verdict([], [])
            for position, verdict in enumerate(verdicts)
        ]


class StaticObjects(Pruning):
    """The published code's rule for static objects: prune what stays at its place for long, unless it is large.

    In a video with more than `crowd` detections a frame, a detection is static if its box overlaps those of more than `count`
    detections of the whole video, itself included, by more than `iou`. It is pruned unless its box is the frame's largest or
    larger than `box_area` pixels.

    Args:
        detector: see `adnet.instance_pruning.detectors`; the published detections are ExtremeNet's.
        crowd, iou, count, box_area: as said above, all strictly.

    Source: github.com/yz93/anchor-diff-VOS, which prunes more, see `experiments/instance_pruning`.
    """

    def __init__(self, detector: Detector, crowd: float, iou: float, count: float, box_area: int) -> None:
        super().__init__(detector)
        self.crowd, self.iou, self.count, self.box_area = crowd, iou, count, box_area

    def judge(self, detections: Sequence[Sequence[Detection]], frames: int) -> list[Verdict]:
        boxes = [detection.box for found in detections for detection in found]
        if len(boxes) <= self.crowd * frames:
            return [Verdict([], []) for _ in detections]
        verdicts = []
        for found in detections:
            largest = max((detection.box.area for detection in found), default=0)
            overlapping = (box_iou([detection.box for detection in found], boxes) > self.iou).sum(1)
            static = [
                detection
                for detection, count in zip(found, overlapping, strict=True)
                if count > self.count and detection.box.area <= self.box_area and detection.box.area < largest
            ]
            verdicts.append(Verdict(static, []))
        return verdicts


def keep_related(verdict: Verdict, share: float) -> Verdict:
    """Protect what was to be pruned if more than `share` of its mask, or of a protected one's, is in both: one object, seen
    twice, or a part of it."""
    spared = [
        detection
        for detection in verdict.pruned
        if any(intersection(detection, other) > share * min(detection.area, other.area) for other in verdict.protected)
    ]
    pruned = [detection for detection in verdict.pruned if not any(detection is other for other in spared)]
    return Verdict(pruned, verdict.protected + spared)
