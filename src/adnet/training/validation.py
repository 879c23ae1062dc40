"""J and F of validation frames, as means over sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from adnet.data.masks import Mask


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
