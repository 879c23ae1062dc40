"""What training makes small: binary cross-entropy (Section 4, Training), and terms beyond the paper."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, max_pool2d


@dataclass(frozen=True)
class Loss:
    """Binary cross-entropy, plus weighted terms; a weight of 0 leaves the term out, and all zeros are the paper's loss.

    Args:
        soft_iou: weight of `soft_iou_loss`.
        boundary: weight of `boundary_loss`.
        boundary_width: in pixels, see there.
    """

    soft_iou: NonNegativeFloat = 0.0
    boundary: NonNegativeFloat = 0.0
    boundary_width: PositiveInt = 5

    def __call__(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Give the loss of logits `[B, 1, H, W]` against annotations, bool `[B, 1, H, W]`: a scalar."""
        loss = binary_cross_entropy_with_logits(logits, mask.to(logits.dtype))
        if self.soft_iou:
            loss = loss + self.soft_iou * soft_iou_loss(logits, mask)
        if self.boundary:
            loss = loss + self.boundary * boundary_loss(logits, mask, self.boundary_width)
        return loss


def soft_iou_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Give 1 - (sum p y + 1) / (sum (p + y - p y) + 1), the mean over frames, for p = sigmoid(logits): a scalar in [0, 1).

    Logits and annotation y, bool, are `[B, 1, H, W]`. It is the region similarity J of probabilities (Rahman and Wang,
    "Optimizing intersection-over-union in deep neural networks for image segmentation", ISVC 2016), in which an object counts the
    same whatever its size; the one pixel more keeps a frame without foreground defined.
    """
    p, y = logits.float().sigmoid(), mask.float()
    intersection = (p * y).sum((1, 2, 3))
    union = (p + y).sum((1, 2, 3)) - intersection
    return (1 - (intersection + 1) / (union + 1)).mean()


def boundary_loss(logits: Tensor, mask: Tensor, width: int) -> Tensor:
    """Give the mean binary cross-entropy of the pixels that `outline_band` takes, of the whole batch: a scalar, 0 without any."""
    band = outline_band(mask, width)
    pixels = binary_cross_entropy_with_logits(logits.float(), mask.float(), reduction="none")
    return (pixels * band).sum() / band.sum().clamp(min=1)


def outline_band(mask: Tensor, width: int) -> Tensor:
    """Find the pixels of `mask`, bool `[B, 1, H, W]`, from which one of the other side is within `width` rows and columns.

    The edge of the image is no outline: what lies beyond it is not known.
    """
    side = 2 * width + 1
    reached = [max_pool2d(part.float(), side, stride=1, padding=width) > 0 for part in (mask, ~mask)]
    return torch.logical_and(*reached)
