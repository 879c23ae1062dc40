"""Load networks from checkpoints of `adnet.train` and `adnet.convert` and from pretrained weights, and write them."""

import io
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from adnet.errors import UserError
from adnet.models import ADNet
from adnet.shared.files import replacing
from adnet.weights.pretrained import WEIGHTS, locate, read_pretrained
from adnet.weights.read import is_whole, load_plain


def load_checkpoint(path: str | Path | None = None) -> tuple[ADNet, tuple[int, int]]:
    """Load a checkpoint's network, in eval mode on the CPU, and its test size (height, width) in pixels.

    `path` is as in `locate`; None: the released weights. Only tensors and plain values are read (`weights_only=True`), and
    only adnet's networks are built from them. Raises UserError for a file that is missing, damaged or not adnet's.

    Examples:
        >>> model, size = load_checkpoint()
        >>> model.variant, size
        ('full_motion', (257, 449))
    """
    path = locate(path)
    config, size, weights = read_checkpoint(path)
    return ADNet.load(config, size, weights, path), (size[0], size[1])


def read_checkpoint(path: Path) -> tuple[Any, Any, dict[str, Any]]:
    """Read the network's config, test size and state dict from a checkpoint or from pretrained weights.

    `ADNet.load` checks all three; the names in the state dict may have a prefix. Raises UserError as `load_checkpoint` does.
    """
    if path.name == WEIGHTS:
        return read_pretrained(path.parent)
    if not path.is_file():
        raise UserError(f"no checkpoint {path}; a training writes checkpoints/last.ckpt into its run folder")
    try:
        checkpoint: dict[str, Any] = load_plain(path)
        if "hyper_parameters" not in checkpoint:
            raise ValueError(
                "it doesn't say which network its weights are of; a training can start from them: model.weights=FILE"
            )
        config = checkpoint["hyper_parameters"]["model"]
        size = checkpoint["hyper_parameters"]["test_size"]
        weights = dict(checkpoint["state_dict"])
    except Exception as error:  # a damaged or foreign pickle may raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        # Messages of these are meant for those who call PyTorch, or are only a key.
        if isinstance(error, UnpicklingError | KeyError | IndexError):
            reason = "it is no file of PyTorch's, or holds other things than a network's weights and settings"
        others = path.parent.glob("*.ckpt") if path.parent.name == "checkpoints" else ()  # of a training
        whole = [f"Give checkpoint={file}" for file in sorted(others, reverse=True) if file != path and is_whole(file)]
        advice = [*whole, "Convert published weights with python -m adnet.convert first"][0]
        raise UserError(f"{path} is not a readable adnet checkpoint ({reason}); was it cut off? {advice}") from error
    return config, size, weights


def write_checkpoint(path: Path, model: ADNet, test_size: tuple[int, int], overwrite: bool = False) -> None:
    """Write a network as `load_checkpoint` reads it, atomically. Raises UserError if `path` exists, without `overwrite`."""
    file = io.BytesIO()  # not the file itself, because PyTorch's error for a full disk is misleading
    weights = {f"model.{key}": value.cpu() for key, value in model.state_dict().items()}
    described = {"model": model.config, "test_size": list(test_size)}
    torch.save({"state_dict": weights, "hyper_parameters": described}, file)
    with replacing(path, overwrite) as draft:
        draft.write_bytes(file.getbuffer())
