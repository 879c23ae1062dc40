"""Pretrained weights: a folder with `model.safetensors` and the `config.json` that describes their network."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from adnet.errors import UserError
from adnet.shared.files import new_folder, sha256, write_json
from adnet.weights.hub import download
from adnet.weights.read import read_weights

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CARD = "README.md"
LITE = "adnet/lite"  # the name of the weights that come with the package

RELEASED = Path(__file__).parents[1] / "released"
"""The folder of the weights that come with the package; see docs/released_model.md."""

_HUB = "hub:"


def locate(checkpoint: str | Path | None) -> Path:
    """Find a checkpoint's file: `None` and `adnet/lite` are the released weights, other paths are returned as they are.

    A folder of pretrained weights becomes the path of its weights. Config and weights of `hub:OWNER/NAME[@REVISION]` are downloaded
    into the hub's cache, which also serves without a network. Raises UserError if they can't be had.
    """
    if checkpoint is None or str(checkpoint) == LITE:
        return RELEASED / WEIGHTS
    if not str(checkpoint).startswith(_HUB):
        path = Path(checkpoint)
        for inside in (path / "last.ckpt", path / "checkpoints" / "last.ckpt"):
            if inside.is_file():
                raise UserError(f"{path} is a folder of a training: give a checkpoint in it, such as {inside}")
        return path / WEIGHTS if (path / CONFIG).is_file() else path
    name, _, revision = str(checkpoint).removeprefix(_HUB).partition("@")
    return download(name, revision or None, [CONFIG, WEIGHTS]) / WEIGHTS


def write_pretrained(
    folder: Path,
    config: Mapping[str, Any],
    test_size: tuple[int, int],
    weights: Mapping[str, Tensor],
    about: Mapping[str, Any],
    card: str | None = None,
) -> None:
    """Write a network's weights (its state dict) in half precision, and what `ADNet.from_config` takes, into a new `folder`.

    Batch norms' statistics, and tensors with values beyond float16, stay in float32. `test_size` is height and width in pixels,
    `about` says where the weights come from, and `card` is the model card in Markdown. Raises UserError if the folder is not empty,
    or a weight is not finite.
    """
    stored = {}
    for name, value in weights.items():
        if not value.isfinite().all():
            advice = "take a checkpoint from before its training failed"
            raise UserError(f"{name} has values that are infinite or not a number: {advice}")
        half = value.half() if value.is_floating_point() else value
        # Statistics are as large or small as the features are, squared.
        precise = name.endswith(("running_mean", "running_var")) or not half.isfinite().all()
        stored[name] = (value.float() if precise and value.is_floating_point() else half).contiguous()
    with new_folder(folder) as draft:
        (draft / WEIGHTS).write_bytes(save(stored))  # save_file would make it readable by its owner only
        content = {"model": config, "test_size": list(test_size), "about": dict(about)}
        write_json(draft / CONFIG, content | {"sha256": sha256(draft / WEIGHTS)})
        if card is not None:
            (draft / CARD).write_text(card, encoding="utf-8")


def read_pretrained(folder: Path) -> tuple[dict[str, Any], tuple[int, int], dict[str, Tensor]]:
    """Read what `write_pretrained` wrote: the network's config, its test size, and its state dict in float32.

    Raises UserError if one of the two files is missing, damaged, or something else.
    """
    file = folder / CONFIG
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        config, (height, width) = content["model"], content["test_size"]
        if not isinstance(config, dict) or not all(type(side) is int and side > 0 for side in (height, width)):
            raise ValueError("its values are of other types")
    except FileNotFoundError as error:
        raise UserError(f"{folder} holds no {CONFIG}, so it is not a folder of weights") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{file} doesn't describe a network of adnet's ({reason}); take another copy") from error
    weights = read_weights(folder / WEIGHTS)
    # A wrong bit in a weight would go unnoticed. Older folders, and other programs', have no checksum.
    if content.get("sha256") not in (None, sha256(folder / WEIGHTS)):
        raise UserError(f"{folder / WEIGHTS} is not the file that {CONFIG} names; take another copy of both")
    return config, (height, width), {k: v.float() if v.dtype is torch.float16 else v for k, v in weights.items()}
