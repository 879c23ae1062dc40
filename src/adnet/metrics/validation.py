"""J and F during training: torchmetrics that know which frame a score belongs to.

The last batch of a distributed validation is padded with frames that another process has, too, which a plain average would
count twice. Here every score has a key, (sequence index, frame index), and each frame counts once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from adnet.metrics.contour import contour_accuracy


class SequenceMean(Metric, ABC):
    """Mean of a per-frame score over the frames of each sequence, then the plain mean over sequences."""

    full_state_update = False

    keys: list[Tensor]
    scores: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("keys", default=[], dist_reduce_fx="cat")
        self.add_state("scores", default=[], dist_reduce_fx="cat")

    @abstractmethod
    def score(self, masks: Tensor, annotations: Tensor) -> Tensor:
        """Compute the scores `[B]`, in [0, 1], of bool masks `[B, H, W]`."""

    def update(self, masks: Tensor, annotations: Tensor, keys: Tensor) -> None:
        """Add frames: bool `masks` and `annotations` `[B, H, W]`, int64 `keys` `[B, 2]` = (sequence, frame) index.

        Raises ValueError for another shape or dtype.
        """
        if masks.dtype != torch.bool or annotations.dtype != torch.bool:
            raise ValueError(f"expected bool masks and annotations, got {masks.dtype} and {annotations.dtype}")
        if masks.ndim != 3 or masks.shape != annotations.shape:
            raise ValueError(
                f"expected masks and annotations of one shape [B, H, W], got {(*masks.shape,)}, {(*annotations.shape,)}"
            )
        if keys.shape != (len(masks), 2):
            raise ValueError(f"expected keys of shape [{len(masks)}, 2], got {[*keys.shape]}")
        self.keys.append(keys)
        self.scores.append(self.score(masks, annotations).to(keys.device, torch.float32))

    def compute(self) -> Tensor:
        """Return the mean, a 0-d tensor in [0, 1]. Raises ValueError if no frame was added."""
        keys, scores = _mean_per_key(dim_zero_cat(self.keys), dim_zero_cat(self.scores))
        _, scores = _mean_per_key(keys[:, :1], scores)
        return scores.mean()


class RegionSimilarity(SequenceMean):
    """J, as in `region_similarity`; computed on the masks' device."""

    def score(self, masks: Tensor, annotations: Tensor) -> Tensor:
        intersection = (masks & annotations).sum(dim=(1, 2))
        union = (masks | annotations).sum(dim=(1, 2))
        return torch.where(union > 0, intersection / union.clamp(min=1), 1.0)


class ContourAccuracy(SequenceMean):
    """F, as in `contour_accuracy`; computed on the CPU."""

    def score(self, masks: Tensor, annotations: Tensor) -> Tensor:
        pairs = zip(masks.cpu().numpy(), annotations.cpu().numpy(), strict=True)
        return torch.tensor([contour_accuracy(mask, annotation) for mask, annotation in pairs])


def _mean_per_key(keys: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distinct rows of `keys` `[N, K]`, and for each the mean of its `scores` `[N]`."""
    unique, index, count = torch.unique(keys, dim=0, return_inverse=True, return_counts=True)
    return unique, scores.new_zeros(len(unique)).index_add_(0, index, scores) / count
