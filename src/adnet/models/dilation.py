"""DeepLabv3's dilation of a ResNet, which is not timm's."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from adnet.errors import UserError


def dilate_resnet(backbone: nn.Module, output_stride: int, multi_grid: Sequence[int]) -> None:
    """Dilate a timm ResNet as DeepLabv3 (arXiv:1706.05587, Section 3) and the published code do, in place.

    Every block of a stage has the stage's dilation, the first too (timm's first keeps that of the stage before), in the
    last stage times `multi_grid`, a factor for each block. The stem's pooling rounds up, as the published one does: this
    matters where a frame's sides are not 8k + 1. A backbone without ResNet stages is left as it is.

    Raises UserError if the last stage has another number of blocks than there are factors.
    """
    if not hasattr(backbone, "layer4"):
        return
    stages: list[nn.Sequential] = [getattr(backbone, f"layer{number}") for number in (1, 2, 3, 4)]
    if len(stages[-1]) != len(multi_grid):
        raise UserError(
            f"model.encoder.multi_grid has {len(multi_grid)} factors for a last stage of {len(stages[-1])} blocks; "
            "give a factor for each, or null for timm's own dilation"
        )
    for stage, reduction in zip(stages, (4, 8, 16, 32), strict=True):
        factors = multi_grid if stage is stages[-1] else [1] * len(stage)
        for block, factor in zip(stage, factors, strict=True):
            for conv in block.modules():
                if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
                    dilation = max(1, reduction // output_stride) * factor
                    conv.dilation = conv.padding = (dilation, dilation)
    pooling = getattr(backbone, "maxpool", None)
    if isinstance(pooling, nn.MaxPool2d):
        pooling.ceil_mode = True
