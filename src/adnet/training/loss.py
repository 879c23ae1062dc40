"""The training loss: binary cross-entropy (Section 4, Training), and optional terms beyond the paper."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, max_pool2d


@dataclass(frozen=True)
class Loss:
    """Binary cross-entropy plus weighted terms. Terms with weight 0 are skipped; the paper's loss has none.

    Args:
        soft_iou: weight of `soft_iou_loss`.
        boundary: weight of `boundary_loss`.
        boundary_width: `width` of `boundary_loss`, in pixels.
    """

    soft_iou: NonNegativeFloat = 0.0
    boundary: NonNegativeFloat = 0.0
    boundary_width: PositiveInt = 5

    def __call__(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Compute the loss of logits `[B, 1, H, W]` for annotations, bool `[B, 1, H, W]`: a scalar."""
        loss = binary_cross_entropy_with_logits(logits, mask.to(logits.dtype))
        if self.soft_iou:
            loss = loss + self.soft_iou * soft_iou_loss(logits, mask)
        if self.boundary:
            loss = loss + self.boundary * boundary_loss(logits, mask, self.boundary_width)
        return loss


def soft_iou_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Compute 1 - (sum p y + 1) / (sum (p + y - p y) + 1) with p = sigmoid(logits), averaged over frames: a scalar in [0, 1).

    Logits and annotation y (bool) are `[B, 1, H, W]`. This is one minus the region similarity J of probabilities (Rahman and
    Wang, "Optimizing intersection-over-union in deep neural networks for image segmentation", ISVC 2016), which weighs
    objects equally regardless of their size. The added pixel keeps it defined for frames without foreground.
    """
    p, y = logits.float().sigmoid(), mask.float()
    intersection = (p * y).sum((1, 2, 3))
    union = (p + y).sum((1, 2, 3)) - intersection
    return (1 - (intersection + 1) / (union + 1)).mean()


def boundary_loss(logits: Tensor, mask: Tensor, width: int) -> Tensor:
    """Compute the mean binary cross-entropy over the batch's pixels in `outline_band`: a scalar, 0 if there are none."""
    band = outline_band(mask, width)
    pixels = binary_cross_entropy_with_logits(logits.float(), mask.float(), reduction="none")
    return (pixels * band).sum() / band.sum().clamp(min=1)


def outline_band(mask: Tensor, width: int) -> Tensor:
    """Find the pixels of `mask`, bool `[B, 1, H, W]`, with a pixel of the other class within `width` rows and columns.

    The edge of the image does not count as an outline, because nothing is known beyond it.
    """
    side = 2 * width + 1
    reached = [max_pool2d(part.float(), side, stride=1, padding=width) > 0 for part in (mask, ~mask)]
    return torch.logical_and(*reached)
