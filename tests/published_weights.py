"""State dicts of the published networks, made up: their names and shapes written out, and the reference's recipe of values."""

import functools
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import nan

import pytest
import torch
from torch import Tensor, nn

BLOCKS = {"ResNet50": (3, 4, 6, 3), "ResNet101": (3, 4, 23, 3)}


def shapes(backbone: str, variant: str) -> dict[str, list[int]]:
    """Names and shapes, in no particular order; `variant` by its published name."""
    names: dict[str, list[int]] = {}

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            names[f"{name}.{part}"] = [channels]

    def conv_norm(conv: str, bn: str, out: int, in_: int, kernel: int) -> None:
        names[f"{conv}.weight"] = [out, in_, kernel, kernel]
        norm(bn, out)

    p = "" if variant == "base" else "features."
    outputs = 1 if variant == "base" else 128
    for i, (out, in_) in enumerate(((64, 3), (64, 64), (128, 64)), start=1):
        conv_norm(f"{p}conv{i}", f"{p}bn{i}", out, in_, 3)
    before = 128
    for stage, blocks in enumerate(BLOCKS[backbone], start=1):
        width = 64 * 2 ** (stage - 1)
        for block in range(blocks):
            b = f"{p}layer{stage}.{block}"
            conv_norm(f"{b}.conv1", f"{b}.bn1", width, before, 1)
            conv_norm(f"{b}.conv2", f"{b}.bn2", width, width, 3)
            conv_norm(f"{b}.conv3", f"{b}.bn3", 4 * width, width, 1)
            if block == 0:
                conv_norm(f"{b}.downsample.0", f"{b}.downsample.1", 4 * width, before, 1)
            before = 4 * width
    for i, kernel in enumerate((1, 3, 3, 3), start=1):
        conv_norm(f"{p}head.0.conv{i}.0", f"{p}head.0.conv{i}.1", 512, 2048, kernel)
    conv_norm(f"{p}head.0.image_pooling.1", f"{p}head.0.image_pooling.2", 512, 2048, 1)
    conv_norm(f"{p}head.0.conv_bn_dropout.0", f"{p}head.0.conv_bn_dropout.1", 512, 2560, 1)
    names |= {f"{p}head.1.weight": [outputs, 512, 1, 1], f"{p}head.1.bias": [outputs]}
    conv_norm(f"{p}dsn.0", f"{p}dsn.1", 512, 1024, 3)
    names |= {f"{p}dsn.3.weight": [outputs, 512, 1, 1], f"{p}dsn.3.bias": [outputs]}
    if variant != "base":
        conv_norm("cls.0", "cls.1", 128, 128 * (3 if variant == "ad" else 2), 1)
        names |= {"cls.0.bias": [128], "cls.3.weight": [1, 128, 1, 1], "cls.3.bias": [1]}
    return names


def weights(backbone: str, variant: str, salt: str = "") -> dict[str, Tensor]:
    """Values made from each name alone, as the reference's README says."""
    return {key: _value(salt, key, tuple(shape)) for key, shape in shapes(backbone, variant).items()}


@contextmanager
def nothing_drawn() -> Iterator[None]:
    """Networks begin with NaN in place of random numbers, which take longer to draw than all weights to load over them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("kaiming_uniform_", "kaiming_normal_"):
            patch.setattr(nn.init, name, lambda tensor, *_, **__: nn.init.constant_(tensor, nan))
        yield


def zeros(backbone: str, variant: str) -> dict[str, Tensor]:
    return {key: torch.zeros(shape) for key, shape in shapes(backbone, variant).items()}


@functools.cache
def _value(salt: str, key: str, shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32((salt + key).encode()))
    if key.endswith("running_mean"):
        return torch.randn(shape, generator=generator) * 0.1
    if key.endswith("running_var"):
        return torch.rand(shape, generator=generator) + 0.5
    if len(shape) == 4:
        value = torch.randn(shape, generator=generator) * (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        return value * 0.01 if key.endswith("head.1.weight") else value
    if key.endswith("bias"):
        return torch.randn(shape, generator=generator) * 0.1
    sign = torch.where(torch.rand(shape, generator=generator) < 0.3, -1.0, 1.0)
    value = (torch.rand(shape, generator=generator) + 0.5) * sign
    return value * 0.3 if "bn3" in key else value
