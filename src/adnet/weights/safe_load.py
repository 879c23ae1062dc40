"""Read tensors from untrusted files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from safetensors.torch import load_file

from adnet.errors import UserError


def load_plain(path: Path) -> Any:
    """Load a `torch.save` file, on the CPU: only tensors and plain values, so that it can't run code (`weights_only=True`).

    Raises ValueError for a wrong checksum in the file, which PyTorch ignores, although it means a wrong weight. A damaged
    pickle may raise anything.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start == b"PK\x03\x04":  # files from before PyTorch 1.6 are pickles without checksums
        with ZipFile(path) as parts:
            if wrong := parts.testzip():
                raise ValueError(f"the checksum of {wrong} in it is wrong")
    return torch.load(path, map_location="cpu", weights_only=True)


def read_weights(path: str | Path) -> dict[str, Any]:
    """Read a `torch.save` or a `.safetensors` file, on the CPU, without running any code in it (`weights_only=True`).

    Raises UserError for a file that is missing, damaged, or holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no file {path}; give the path of a .pth, .ckpt or .safetensors file")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else load_plain(path)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is refused: it holds more than tensors and plain values, so that reading it could run code, or is no "
            "PyTorch file at all; save only the state dict"
        ) from error
    except Exception as error:  # a damaged file may raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} can't be read ({reason}); was it cut off? take another copy") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not tensors by name; save a state dict")
    return content
