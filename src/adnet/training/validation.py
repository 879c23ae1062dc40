"""What is computed of validation frames: J and F, and summaries small enough to send between processes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from adnet.data.masks import Mask
from adnet.data.pictures import Frame
from adnet.models import upsample

LEVELS = 256


class SequenceMean(Metric):
    """Mean of a per-frame `measure` over the frames of each sequence, then the plain mean over sequences.

    `measure` is a function of mask and annotation, bool arrays `[H, W]`, such as `region_similarity`; it runs on the CPU. The last
    batch of a distributed validation is padded with frames that another process has, too; by its key, each frame counts once.
    """

    full_state_update = False

    keys: list[Tensor]
    scores: list[Tensor]

    def __init__(self, measure: Callable[[Mask, Mask], float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._measure = measure
        self.add_state("keys", default=[], dist_reduce_fx="cat")
        self.add_state("scores", default=[], dist_reduce_fx="cat")

    def update(self, masks: Tensor, annotations: Tensor, keys: Tensor) -> None:
        """Add frames: bool `masks` and `annotations` `[B, H, W]`, int64 `keys` `[B, 2]` = (sequence, frame) index."""
        self.keys.append(keys)
        triples = zip(masks.cpu().numpy(), annotations.cpu().numpy(), keys, strict=True)
        scores = [self._measure(mask, annotation) for mask, annotation, _ in triples]
        self.scores.append(torch.tensor(scores, dtype=torch.float32, device=keys.device))

    def compute(self) -> Tensor:
        """Return the mean, a 0-d tensor in [0, 1]. Raises ValueError if no frame was added."""
        keys, scores = _mean_per_key(dim_zero_cat(self.keys), dim_zero_cat(self.scores))
        _, scores = _mean_per_key(keys[:, :1], scores)
        return scores.mean()


def _mean_per_key(keys: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distinct rows of `keys` `[N, K]`, and for each the mean of its `scores` `[N]`."""
    unique, index, count = torch.unique(keys, dim=0, return_inverse=True, return_counts=True)
    return unique, scores.new_zeros(len(unique)).index_add_(0, index, scores) / count


@dataclass(frozen=True)
class Overlay:
    """A frame `[h, w, 3]` uint8 with its predicted and its annotated mask `[h, w]` bool."""

    frame: Frame
    mask: Mask
    annotation: Mask


@dataclass(frozen=True)
class ValidationFrame:
    """Scores of frame `index` in a sequence of `length` frames.

    J and F are in [0, 1]. `histogram` is what the function of this name returns; None if no logger shows it.
    `cosine_distance`, in [0, 2], is between the foregrounds of this and the first frame; None if one is empty.
    """

    sequence: str
    index: int
    length: int
    J: float
    F: float
    histogram: npt.NDArray[np.int64] | None
    cosine_distance: float | None
    overlay: Overlay | None

    @property
    def time(self) -> float:
        """Position in the sequence: 0 for its first frame, 1 for its last."""
        return self.index / max(self.length - 1, 1)


def histogram(logits: npt.NDArray[np.float32], annotation: Mask) -> npt.NDArray[np.int64]:
    """Count the pixels of background and foreground by the 8-bit probability of logits `[H, W]`: `[2, 256]`."""
    finite = np.nan_to_num(logits.astype(np.float64).clip(-50, 50))  # after NaN, the next loss stops the run
    levels = np.rint(255 / (1 + np.exp(-finite))).astype(np.int64)
    return np.bincount((levels + LEVELS * annotation).ravel(), minlength=2 * LEVELS).reshape(2, LEVELS)


def overlay(frame: Frame, mask: Mask, annotation: Mask, width: int) -> Overlay:
    """Resize frame and masks to a width of `width` pixels, unless they are smaller."""
    if width >= frame.shape[1]:
        return Overlay(frame, mask, annotation)
    size = width, round(width * frame.shape[0] / frame.shape[1])
    small = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    masks = (cv2.resize(m.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0 for m in (mask, annotation))
    return Overlay(small, *masks)


def foreground_embeddings(embedding: Tensor, annotation: Mask) -> Tensor:
    """Select the pixels `[N, C]` of an embedding `[C, h, w]` on the foreground of the annotation `[H, W]`."""
    mask = torch.from_numpy(annotation).to(embedding.device, torch.float32)[None, None]
    inside = upsample(mask, (embedding.shape[1], embedding.shape[2]))[0, 0] > 0.5
    return embedding[:, inside].T


def precision_recall(frames: Iterable[ValidationFrame]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compute precision and recall `[256]` over all pixels of all frames, at thresholds 255/255 down to 0.

    Both are 0 if no pixel reaches the threshold, or if there is no foreground.
    """
    pixels = np.sum([frame.histogram for frame in frames if frame.histogram is not None], axis=0)
    background, foreground = np.cumsum(pixels[:, ::-1], axis=1)
    return foreground / np.maximum(foreground + background, 1), foreground / max(int(foreground[-1]), 1)


def consistency(frames: Iterable[ValidationFrame]) -> list[tuple[float, float]]:
    """Average (time in [0, 1], cosine distance) over the first frames of all sequences, over the second ones, and so on."""
    points: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for group in per_sequence(frames).values():
        known = [(frame.time, frame.cosine_distance) for frame in group if frame.cosine_distance is not None]
        for number, point in enumerate(known):
            points[number].append(point)
    return [tuple(np.mean(points[number], axis=0).tolist()) for number in sorted(points)]


def per_sequence(frames: Iterable[ValidationFrame]) -> dict[str, list[ValidationFrame]]:
    """Group frames by sequence, in time order."""
    ordered = sorted(frames, key=attrgetter("sequence", "index"))
    return {name: list(group) for name, group in groupby(ordered, key=attrgetter("sequence"))}
