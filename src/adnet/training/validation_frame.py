"""What is kept of a validation frame, small enough to be sent between processes, and what follows from many of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adnet.data.sequence import Frame, Mask
from adnet.metrics import contour_accuracy, region_similarity
from adnet.models import upsample

LEVELS = 256


@dataclass(frozen=True)
class Overlay:
    """A frame `[h, w, 3]` uint8 with its predicted and its annotated mask `[h, w]` bool."""

    frame: Frame
    mask: Mask
    annotation: Mask


@dataclass(frozen=True)
class ValidationFrame:
    """Scores of frame `index` of `length` in a sequence.

    J and F are in [0, 1]; `histogram` `[2, 256]` counts the pixels of the background and of the foreground by 8-bit
    probability; `cosine_distance` in [0, 2] is that of the foreground to the first frame's, None where one has none.
    """

    sequence: str
    index: int
    length: int
    J: float
    F: float
    histogram: npt.NDArray[np.int64]
    cosine_distance: float | None
    overlay: Overlay | None

    @property
    def time(self) -> float:
        """0 at the first frame of the sequence, 1 at the last."""
        return self.index / max(self.length - 1, 1)


def scores(logits: npt.NDArray[np.float32], annotation: Mask) -> tuple[float, float, npt.NDArray[np.int64]]:
    """J, F and `histogram` of logits `[H, W]`."""
    mask = logits > 0
    finite = np.nan_to_num(logits.astype(np.float64).clip(-50, 50))  # no NaN: it is the next loss that stops the run
    levels = np.rint(255 / (1 + np.exp(-finite))).astype(np.int64)
    histogram = np.bincount((levels + LEVELS * annotation).ravel(), minlength=2 * LEVELS).reshape(2, LEVELS)
    return region_similarity(mask, annotation), contour_accuracy(mask, annotation), histogram


def overlay(frame: Frame, mask: Mask, annotation: Mask, width: int) -> Overlay:
    """The three at `width` pixels across, or as they are if they are smaller."""
    if width >= frame.shape[1]:
        return Overlay(frame, mask, annotation)
    size = width, round(width * frame.shape[0] / frame.shape[1])
    small = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    masks = (cv2.resize(m.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0 for m in (mask, annotation))
    return Overlay(small, *masks)


def foreground_embeddings(embedding: Tensor, annotation: Mask) -> Tensor:
    """Those rows `[N, C]` of an embedding `[C, h, w]` that lie on the foreground of the annotation `[H, W]`."""
    mask = torch.from_numpy(annotation).to(embedding.device, torch.float32)[None, None]
    inside = upsample(mask, (embedding.shape[1], embedding.shape[2]))[0, 0] > 0.5
    return embedding[:, inside].T


def precision_recall(frames: Iterable[ValidationFrame]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Precision and recall `[256]` over all pixels of all frames at or above each probability, 255/255 first.

    Both are 0 where nothing lies above the threshold, or where there is no foreground.
    """
    histogram = np.sum([frame.histogram for frame in frames], axis=0)
    background, foreground = np.cumsum(histogram[:, ::-1], axis=1)
    return foreground / np.maximum(foreground + background, 1), foreground / max(int(foreground[-1]), 1)


def consistency(frames: Iterable[ValidationFrame]) -> list[tuple[float, float]]:
    """Time in [0, 1] and mean cosine distance: over the first frame of each sequence, over the second, and so on."""
    places: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for group in per_sequence(frames).values():
        known = [(frame.time, frame.cosine_distance) for frame in group if frame.cosine_distance is not None]
        for place, point in enumerate(known):
            places[place].append(point)
    return [tuple(np.mean(places[place], axis=0).tolist()) for place in sorted(places)]


def per_sequence(frames: Iterable[ValidationFrame]) -> dict[str, list[ValidationFrame]]:
    """The frames of each sequence in time order."""
    groups: dict[str, list[ValidationFrame]] = defaultdict(list)
    for frame in sorted(frames, key=lambda frame: (frame.sequence, frame.index)):
        groups[frame.sequence].append(frame)
    return dict(groups)
