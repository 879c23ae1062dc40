"""A training that begins with the weights of another network, as far as the two are alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from adnet.errors import UserError
from adnet.models.branches import VARIANTS
from adnet.weights.safe_load import read_weights

_TORCHVISION = {
    "backbone.": "encoder.backbone.",
    **{f"classifier.0.convs.{n}.": f"encoder.aspp.convolutions.{n}." for n in range(4)},
    "classifier.0.convs.4.1.": "encoder.aspp.pooling.1.0.",
    "classifier.0.convs.4.2.": "encoder.aspp.pooling.1.1.",
    "classifier.0.project.": "encoder.aspp.project.0.",
}
"""Prefix of a torchvision DeepLabv3 -> ours; what comes after its ASPP has no place here."""

_BACKBONES = ("encoder.backbone.", "motion.backbone.")


def warm_start(model: nn.Module, branches: tuple[str, ...], path: str | Path) -> str:
    """Give `model`, an `ADNet` with these `branches`, the weights in a file; one line that says which it has not from there.

    The file is a checkpoint of training or of `adnet.convert`, or a state dict of an `ADNet` or of a torchvision DeepLabv3.
    Where the checkpoint's variant has fewer branches, the head's inputs of the new ones begin at 0: the network begins with the
    outputs that the other had. Raises UserError for a file that can't be read or could run code, a backbone that is another
    or normalises frames otherwise, and tensors of other shapes.
    """
    content = read_weights(path)
    config = content.get("hyper_parameters", {}).get("model") or {}
    given = _our_names(content.get("state_dict", content))
    own = {key: tensor for key, tensor in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    _widen(given, "head.0.weight", VARIANTS.get(config.get("variant", ""), ()), branches)
    taken = {key: given[key] for key in own if key in given}
    lacking = [key for key in own if key not in given]
    wholly_new = _parts(lacking).keys() - _parts(taken).keys()

    lost = [
        key
        for key in lacking
        if key.startswith(_BACKBONES) and (key.startswith("encoder") or _part(key) not in wholly_new)
    ]
    if lost:
        raise UserError(
            f"model.weights: {path} lacks {lost[0]} ({len(lost)} such): it is of another backbone, or model.encoder.freeze_batch_norm "
            "was otherwise"
        )
    if wrong := [
        f"{key} is {[*taken[key].shape]}, not {[*own[key].shape]}"
        for key in taken
        if taken[key].shape != own[key].shape
    ]:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UserError(
            f"model.weights: {path} is of another shape: {', '.join(wrong[:3])}{more}; set model as it was there"
        )
    _check_normalisation(model, config.get("encoder"), path)

    model.load_state_dict(taken, strict=False)
    listed = {
        "new": [key for key in lacking if _part(key) in wholly_new],
        "missing": [key for key in lacking if _part(key) not in wholly_new],
        "unused": [key for key in given if key not in own and not key.endswith("num_batches_tracked")],
    }
    said = (f"{what}: {_counted(keys)}" for what, keys in listed.items())
    return f"weights of {path}: {len(taken)} tensors taken; {'; '.join(said)}"


def _our_names(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    given = {key.removeprefix("model."): value for key, value in state_dict.items() if isinstance(value, Tensor)}
    if not any(key.startswith("classifier.0.") for key in given):
        return given
    return {
        next(
            (ours + key.removeprefix(theirs) for theirs, ours in _TORCHVISION.items() if key.startswith(theirs)), key
        ): value
        for key, value in given.items()
    }


def _widen(given: dict[str, Tensor], key: str, before: tuple[str, ...], now: tuple[str, ...]) -> None:
    """Put the head's input channels of each branch where the branch is now."""
    if key not in given or not before or before == now or not {*before} <= {*now}:
        return
    parts = dict(zip(before, given[key].chunk(len(before), dim=1), strict=True))
    nothing = torch.zeros_like(parts[before[0]])
    given[key] = torch.cat([parts.get(branch, nothing) for branch in now], dim=1)


def _check_normalisation(model: nn.Module, encoder: dict[str, Any] | None, path: str | Path) -> None:
    if not encoder:
        return
    usual = timm.get_pretrained_cfg(encoder["backbone"])
    for name in ("mean", "std"):
        there = encoder.get(name) or getattr(usual, name, None)
        here = getattr(model.encoder, name).flatten()
        if there and not torch.allclose(here, here.new_tensor(there)):
            raise UserError(
                f"model.weights: {path} takes frames of another normalisation: give model.encoder.{name}={list(there)}".replace(
                    ", ", ","
                )
            )


def _part(key: str) -> str:
    """What a tensor is of, in one or two words: `encoder.aspp`, `decoder`."""
    words = key.split(".")
    return ".".join(words[: 2 if words[0] in ("encoder", "motion") else 1])


def _parts(keys: Iterable[str]) -> Counter[str]:
    return Counter(map(_part, keys))


def _counted(keys: list[str]) -> str:
    return ", ".join(f"{part} ({count})" for part, count in _parts(keys).items()) or "none"
