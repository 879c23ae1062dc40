"""The training loss: a weighted sum of functions of logits and annotation. CONTRIBUTING.md says how to add one."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, max_pool2d

from adnet.errors import UserError


@dataclass(frozen=True)
class Loss:
    """A weighted sum; terms of weight 0 are left out. The paper's (Section 4, Training) has the cross-entropy alone.

    Raises UserError if all weights are 0.

    Args:
        bce: weight of `cross_entropy`.
        soft_iou: weight of `soft_iou_loss`.
        boundary: weight of `boundary_loss`.
        boundary_width: `width` of `boundary_loss`, in pixels.
    """

    bce: NonNegativeFloat = 1.0
    soft_iou: NonNegativeFloat = 0.0
    boundary: NonNegativeFloat = 0.0
    boundary_width: PositiveInt = 5

    def __post_init__(self) -> None:
        if not any(getattr(self, name) for name in self.terms):
            raise UserError(f"all losses have weight 0: give one of {', '.join(f'loss.{n}' for n in self.terms)}")

    @property
    def terms(self) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        """Every term by the name of its weight: a function of logits and annotation (bool) `[B, 1, H, W]` to a scalar."""
        return {
            "bce": cross_entropy,
            "soft_iou": soft_iou_loss,
            "boundary": partial(boundary_loss, width=self.boundary_width),
        }

    def __call__(self, logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Compute the terms of logits `[B, 1, H, W]` for annotations, bool `[B, 1, H, W]`: weighted scalars by name."""
        weights = {name: getattr(self, name) for name in self.terms}
        return {name: weights[name] * term(logits, mask) for name, term in self.terms.items() if weights[name]}


def total(terms: dict[str, Tensor]) -> Tensor:
    """Add up the terms of a loss: a scalar."""
    return reduce(torch.add, terms.values())


def cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Compute the mean binary cross-entropy over all pixels: a scalar. Logits and annotation (bool) are `[B, 1, H, W]`."""
    return binary_cross_entropy_with_logits(logits, mask.to(logits.dtype))


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
    rows = [max_pool2d(part.float(), (side, 1), stride=1, padding=(width, 0)) for part in (mask, ~mask)]
    reached = [max_pool2d(part, (1, side), stride=1, padding=(0, width)) > 0 for part in rows]
    return torch.logical_and(*reached)
