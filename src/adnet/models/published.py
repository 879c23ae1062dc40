"""The published checkpoints, an evaluation-only release (github.com/yz93/anchor-diff-VOS), as `ADNet`s."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adnet.errors import UserError
from adnet.models.adnet import ADNet
from adnet.models.branches import VARIANTS
from adnet.models.encoder import DeepLabV3
from adnet.weights.read import read_weights, tensors_named, unwrapped

_VARIANTS = {"base": "baseline", "intra": "intra", "concat": "anchor", "inter": "anchor_diffusion", "ad": "full"}
"""Published name -> ours."""

_BACKBONES = {6: "resnet50s", 23: "resnet101s"}
"""Blocks of the third stage -> timm's name."""

_NAMES = {
    "encoder.backbone.conv1.0.": "features.conv1.",
    "encoder.backbone.conv1.1.": "features.bn1.",
    "encoder.backbone.conv1.3.": "features.conv2.",
    "encoder.backbone.conv1.4.": "features.bn2.",
    "encoder.backbone.conv1.6.": "features.conv3.",
    "encoder.backbone.bn1.": "features.bn3.",
    "encoder.backbone.": "features.",
    "encoder.aspp.convolutions.0.": "features.head.0.conv1.",
    "encoder.aspp.convolutions.1.": "features.head.0.conv2.",
    "encoder.aspp.convolutions.2.": "features.head.0.conv3.",
    "encoder.aspp.convolutions.3.": "features.head.0.conv4.",
    "encoder.aspp.pooling.1.0.": "features.head.0.image_pooling.1.",
    "encoder.aspp.pooling.1.1.": "features.head.0.image_pooling.2.",
    "encoder.aspp.project.0.": "features.head.0.conv_bn_dropout.",
    "encoder.project.": "features.head.1.",
    "head.0.": "cls.0.",
    "head.1.": "cls.1.",
    "head.4.": "cls.3.",
}
"""Our prefix -> the published one; the first match counts. The baseline's names lack `features.`."""

_MEAN = (122.67891434, 116.66876762, 104.00698793)
"""RGB, in 0-255; the published networks take BGR minus this."""


def load_published(state_dict_or_path: Mapping[str, Any] | str | Path, variant: str) -> ADNet:
    """Load a published state dict as an `ADNet` in eval mode that takes RGB in [0, 1] like any other.

    Args:
        state_dict_or_path: tensors by their published names, or a `.pth` or `.safetensors` file of them; ResNet50 or
            ResNet101, with or without a prefix such as `module.` and the auxiliary head `dsn`, which testing doesn't use.
        variant: `baseline`, `intra`, `anchor`, `anchor_diffusion` or `full`, or its published name (`base`, `intra`,
            `concat`, `inter`, `ad`). The weights of `intra`, `anchor` and `anchor_diffusion` have the same names and shapes,
            so a mix-up between these can't be detected.

    The scale of the published batch norm, `|weight| + 1e-5`, is folded into the weights, as are the order of the channels
    and a bias before a batch norm. Raises UserError for a file that can't be read or could run code, an unknown variant,
    and a missing, extra or wrongly shaped weight.
    """
    content = state_dict_or_path if isinstance(state_dict_or_path, Mapping) else read_weights(state_dict_or_path)
    blocks = {key.split("layer3.")[1].split(".")[0] for key in unwrapped(content) if "layer3." in key}
    if len(blocks) not in _BACKBONES:
        raise UserError(
            f"no published network: its third stage (layer3) has {len(blocks)} blocks; ResNet50 has 6, ResNet101 has 23"
        )
    config = published_config(variant, _BACKBONES[len(blocks)])
    encoder = {key: value for key, value in config.pop("encoder").items() if key != "_target_"}
    model = ADNet(DeepLabV3(**encoder), config["variant"])
    model.load_state_dict(_translate(content, model))
    return model.eval()


def published_config(variant: str, backbone: str) -> dict[str, Any]:
    """Return the config of a published network: `variant` as in `load_published`, `backbone` resnet50s or resnet101s."""
    variant = _VARIANTS.get(variant, variant)
    if variant not in _VARIANTS.values():
        known = ", ".join(f"{ours} ({theirs})" for theirs, ours in _VARIANTS.items())
        raise UserError(f"no published variant {variant!r}; choose from {known}")
    return {
        "_target_": "adnet.models.ADNet",
        "variant": variant,
        "encoder": {
            "_target_": "adnet.models.DeepLabV3",
            "backbone": backbone,
            "pretrained": False,
            "multi_grid": [1, 2, 4],
            "mean": [mean / 255 for mean in _MEAN],
            "std": [1 / 255] * 3,
            "embedding_channels": 128 if VARIANTS[variant] else 1,
        },
    }


def _translate(content: Mapping[str, Any], model: ADNet) -> dict[str, Tensor]:
    """Check all published weights and return them under the names of `model`."""
    features = "features." if model.branches else ""
    counter = "num_batches_tracked"
    own = {key: tensor for key, tensor in model.state_dict().items() if not key.endswith(counter)}
    names = {key: _published_name(key, features) for key in own}
    shapes = {names[key]: tensor.shape for key, tensor in own.items()}
    if model.branches:
        shapes["cls.0.bias"] = shapes["cls.1.bias"]
    published = tensors_named(content, shapes)
    used = (key for key in published if not (key.startswith(f"{features}dsn.") or key.endswith(counter)))
    _check({key: published[key] for key in used}, shapes)
    weights = {key: published[name].float() for key, name in names.items()}
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            weights[f"{name}.weight"] = weights[f"{name}.weight"].abs() + 1e-5
            weights[f"{name}.{counter}"] = torch.tensor(0)
    first = "encoder.backbone.conv1.0.weight"
    weights[first] = weights[first].flip(1)
    if model.branches:
        weights["head.1.running_mean"] = weights["head.1.running_mean"] - published["cls.0.bias"].float()
    return weights


def _published_name(key: str, features: str) -> str:
    ours, theirs = next((ours, theirs) for ours, theirs in _NAMES.items() if key.startswith(ours))
    return theirs.replace("features.", features) + key.removeprefix(ours)


def _check(published: dict[str, Any], shapes: dict[str, torch.Size]) -> None:
    faults = [f"lacks {key}" for key in shapes if key not in published]
    faults += [f"has an unknown {key}" for key in published if key not in shapes]
    for key in (key for key in shapes if key in published):
        shape = list(getattr(published[key], "shape", [type(published[key]).__name__]))
        if shape != list(shapes[key]):
            faults.append(f"has {key} of shape {shape}, not {list(shapes[key])}")
    if faults:
        more = f", and {len(faults) - 3} more such" if len(faults) > 3 else ""
        raise UserError(
            f"no published network of this variant: it {', '.join(faults[:3])}{more}; is it another variant?"
        )
