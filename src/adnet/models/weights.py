"""Tensors from files that may come from anyone."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from adnet.errors import UserError


def read_weights(path: str | Path) -> dict[str, Any]:
    """What a `torch.save` or a `.safetensors` file holds, on the CPU; nothing in it can run code (`weights_only=True`).

    Raises UserError for a file that isn't there, is damaged, or holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no file {path}; give the path of a .pth, .ckpt or .safetensors file")
    try:
        content = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is refused: it holds more than tensors and plain values, so that reading it could run code, or is no "
            "PyTorch file at all; save its state dict alone"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, AttributeError, SafetensorError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} can't be read ({reason}); was it cut off? take another copy") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not tensors by name; save a state dict")
    return content
