"""Instance pruning (Section 4): link detections into tracks, and remove the masks of small or short-lived ones from the foreground.

pruning = InstancePruning(Precomputed("detections.json"))
pruning.start("bear", frames)
probability = pruning.step("00000", probability)
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torchvision import ops

from adnet.data.masks import Probability
from adnet.data.pictures import Frame, check_same_size
from adnet.errors import UserError
from adnet.instance_pruning.detectors import Detection, Detector

Track = dict[int, Detection]
"""One instance over frames: its detections by the frame's position, in time order."""


class Verdict(NamedTuple):
    """The decision on the detections of a frame: pixels of `pruned` become 0 unless they also belong to one of `protected`."""

    pruned: list[Detection]
    protected: list[Detection]


class InstancePruning:
    """A `Postprocess` that sets probabilities to 0 on tracks whose masks are small, or that appear in only a part of the video.

    Args:
        part: a detection shows the same object as a kept one if they share more than this part of the smaller mask.
        iou: detections in consecutive frames are one instance if their boxes overlap by at least this much.
        gap: for how many frames, of those with any detection, a track may be unseen and still continue.
        area: the least cumulative mask area of a kept track, as a share of the largest track's, in [0, 1].
        presence: the least share of the video's frames in which a kept track appears, in [0, 1].
        margin: by how many pixels pruned masks are dilated, because the network's outlines differ from the detector's.

    Because detectors lose objects and detect them twice, the track with the largest cumulative area is always kept, pixels of a kept
    track and second detections of its object are never pruned, and nothing is pruned in frames without the largest track.
    """

    def __init__(
        self, detector: Detector, part: float, iou: float, gap: int, area: float, presence: float, margin: int = 0
    ) -> None:
        self.detector = detector
        self.margin = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
        self.part, self.iou, self.gap, self.area, self.presence = part, iou, gap, area, presence

    def start(self, video: str, frames: Iterable[Frame]) -> None:
        """Detect objects in the whole video and judge them."""
        detected = self.detector.detect(video, frames)
        # A file of detections does not list frames without any.
        seen = {frame: detections for frame, detections in detected.detections.items() if detections}
        verdicts = self.judge(list(seen.values()), detected.frames)
        self._verdicts: dict[str | int, Verdict] = dict(zip(seen, verdicts, strict=True))
        self._video, self._frames, self._position, self._used = video, detected.frames, 0, 0

    def step(self, frame: str, probability: Probability) -> Probability:
        """Filter the probability of a frame, float32 `[H, W]`.

        Raises UserError for detections of another size, and at the last frame if the detections match no frame at all.
        """
        verdict = self._verdicts.get(frame) or self._verdicts.get(self._position)
        self._position += 1
        self._used += verdict is not None
        if self._verdicts and not self._used and self._position == self._frames:
            other = f"that it does not have, such as {next(iter(self._verdicts))!r}; it has {frame!r}: name them alike"
            raise UserError(f"the detections of the video {self._video!r} are in frames {other}")
        if not verdict or not verdict.pruned:
            return probability
        pruned, protected = (np.zeros(probability.shape, bool) for _ in verdict)
        for canvas, detections in zip((pruned, protected), verdict, strict=True):
            for detection in detections:
                where = f"a detection in {self._video}/{frame}"
                check_same_size(where, detection.size, "the frame", probability.shape, "detect at that size")
                detection.paint(canvas)
        grown = cv2.dilate(pruned.view(np.uint8), self.margin).view(bool)
        return np.where(grown & ~protected, np.float32(0), probability)

    def judge(self, detections: Sequence[Sequence[Detection]], frames: int) -> list[Verdict]:
        """Decide on the detections of each frame that has any, in time order; `frames` counts all frames of the video."""
        tracks = link(detections, self.iou, self.gap)
        areas = [sum(detection.area for detection in track.values()) for track in tracks]
        main = tracks[areas.index(max(areas))] if tracks else {}
        verdicts = [Verdict([], []) for _ in detections]
        for track, area in zip(tracks, areas, strict=True):
            kept = track is main or (area >= self.area * max(areas) and len(track) >= self.presence * frames)
            for position in track.keys() & main.keys():
                verdict = verdicts[position]
                (verdict.protected if kept else verdict.pruned).append(track[position])
        return [keep_related(verdict, self.part) for verdict in verdicts]


def keep_related(verdict: Verdict, share: float) -> Verdict:
    """Protect pruned detections that share more than `share` of the smaller mask with a protected one: the same object."""
    pruned: list[Detection] = []
    spared: list[Detection] = []
    for one in verdict.pruned:
        same = any(one.shared(other) > share * min(one.area, other.area) for other in verdict.protected)
        (spared if same else pruned).append(one)
    return Verdict(pruned, verdict.protected + spared)


def link(frames: Sequence[Sequence[Detection]], iou: float, gap: int) -> list[Track]:
    """Link the detections of each frame, in time order, to those before; `iou` and `gap` as in `InstancePruning`.

    Pairs are chosen greedily, the largest overlap first. Each detection is in one track, which has at most one of a frame.
    """
    tracks: list[Track] = []
    for position, detections in enumerate(frames):
        alive = [track for track in tracks if position - next(reversed(track)) <= gap + 1]
        last = [next(reversed(track.values())) for track in alive]
        boxes = (
            torch.tensor([one.box for one in some], dtype=torch.float64).reshape(-1, 4) for some in (last, detections)
        )
        overlap = ops.box_iou(*boxes).numpy()
        linked: dict[int, Track] = {}
        for flat in np.argsort(-overlap, axis=None, kind="stable"):
            i, j = divmod(int(flat), len(detections))
            if overlap[i, j] < iou:
                break
            if j not in linked and position not in alive[i]:
                linked[j] = alive[i]
                alive[i][position] = detections[j]
        for j, detection in enumerate(detections):
            if j not in linked:
                tracks.append({position: detection})
    return tracks
