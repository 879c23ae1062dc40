"""Start a training from the weights of another network, as far as the two match."""

from collections import Counter
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from adnet.errors import UserError
from adnet.models.branches import VARIANTS
from adnet.weights.read import load_into, read_weights, tensors_named


def warm_start(model: nn.Module, branches: tuple[str, ...], path: str | Path) -> str:
    """Load the weights of another network into `model`, an `ADNet` with these `branches`; report in one line what differed.

    The file is a checkpoint of training or of `adnet.convert`, or a state dict of an `ADNet`. If the checkpoint's variant has
    fewer branches, the head's weights for the new ones start at 0, so that the outputs are those of the other network. Raises
    UserError for a file that can't be read or could run code, another backbone or normalisation of frames, and as `load_into`.
    """
    content = read_weights(path)
    config = content.get("hyper_parameters", {}).get("model") or {}
    own = {key: tensor for key, tensor in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    given = {key: value for key, value in tensors_named(content, own).items() if isinstance(value, Tensor)}
    _widen(given, "head.0.weight", VARIANTS.get(config.get("variant", ""), ()), branches)
    taken = {key: given[key] for key in own if key in given}
    parts = set(map(_part, taken))
    lacking = [key for key in own if key not in given]
    new = [key for key in lacking if _part(key) not in parts]
    missing = [key for key in lacking if _part(key) in parts]
    unused = [key for key in given if key not in own and not key.endswith("num_batches_tracked")]

    # The motion encoder may be wholly new, the frames' encoder may not.
    lost = [key for key in lacking if key.startswith("encoder.backbone.")]
    lost += [key for key in missing if key.startswith("motion.backbone.")]
    if lost:
        advice = "it has another backbone, or was trained with another model.encoder.freeze_batch_norm"
        raise UserError(f"model.weights: {path} lacks {lost[0]} ({len(lost)} such): {advice}")
    if encoder := config.get("encoder"):
        usual = timm.get_pretrained_cfg(encoder["backbone"])
        for name in ("mean", "std"):
            there = encoder.get(name) or getattr(usual, name, None)
            here = getattr(model.encoder, name).flatten()
            if there and not torch.allclose(here, here.new_tensor(there)):
                setting = f"model.encoder.{name}=[{','.join(map(str, there))}]"
                raise UserError(f"model.weights: frames of {path} are normalised otherwise: give {setting}")
    load_into(model, own | taken, f"model.weights: {path}", "this network", advice="set model.* as in its training")
    return (
        f"weights of {path}: {len(taken)} tensors taken; "
        f"new: {_counted(new)}; missing: {_counted(missing)}; unused: {_counted(unused)}"
    )


def _widen(given: dict[str, Tensor], key: str, before: tuple[str, ...], now: tuple[str, ...]) -> None:
    """Move each branch's input channels of the head to where the branch is now; those of new branches are 0."""
    if key not in given or not before or before == now or not {*before} <= {*now}:
        return
    parts = dict(zip(before, given[key].chunk(len(before), dim=1), strict=True))
    nothing = torch.zeros_like(parts[before[0]])
    given[key] = torch.cat([parts.get(branch, nothing) for branch in now], dim=1)


def _part(key: str) -> str:
    words = key.split(".")  # encoder.aspp, decoder
    return ".".join(words[: 2 if words[0] in ("encoder", "motion") else 1])


def _counted(keys: list[str]) -> str:
    return ", ".join(f"{part} ({count})" for part, count in Counter(map(_part, keys)).items()) or "none"
