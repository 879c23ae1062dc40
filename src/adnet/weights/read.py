"""Read tensors from untrusted files, and fit them to a network, whatever was put around their names."""

import pickle
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from adnet.errors import UserError

_WITHIN = ("state_dict", "model", "model_state_dict", "module")
"""Where training scripts put a state dict in a file that holds more."""


def is_whole(path: Path) -> bool:
    """Return whether a file is as `torch.save` wrote it, by its checksums."""
    try:
        with ZipFile(path) as file:
            return file.testzip() is None
    except (BadZipFile, OSError, EOFError, RuntimeError, ValueError, zlib.error):
        return False  # a flipped bit may also look like a password, another compression, or another encoding of a name


def load_plain(path: Path) -> Any:
    """Load a `torch.save` file, on the CPU: only tensors and plain values, so that it can't run code (`weights_only=True`).

    Raises ValueError for a wrong checksum, which PyTorch ignores. A damaged pickle may raise anything.
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


def unwrapped(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state dict in what a file holds, without the `_orig_mod.` that torch.compile puts into names."""
    for _ in _WITHIN:  # a file may hold a dict that holds itself
        content = next((content[key] for key in _WITHIN if isinstance(content.get(key), Mapping)), content)
    return {str(key).replace("_orig_mod.", ""): value for key, value in content.items()}


def tensors_named(content: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the state dict in what a file holds, by the names that a network gives its tensors.

    Those below the prefix with most of `names`, such as the `module.` of DistributedDataParallel, are kept, and it is removed.
    Raises UserError for two such prefixes, as `student.` and `teacher.`.
    """
    given, names = unwrapped(content), set(names)
    below: Counter[str] = Counter()
    for key in given:
        parts = key.split(".")
        for depth in range(len(parts)):
            if ".".join(parts[depth:]) in names:
                below["".join(f"{part}." for part in parts[:depth])] += 1
    best = [prefix for prefix in below if below[prefix] == max(below.values())] or [""]
    prefix = "" if "" in best else best[0]
    if prefix and best[1:]:
        both = f"below {best[0]!r} and {best[1]!r}"
        raise UserError(f"the weights of two networks are there, {both}: save one of them alone")
    return {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}


def load_into(
    network: nn.Module,
    content: Mapping[str, Any],
    source: str,
    target: str,
    more_allowed: bool = False,
    advice: str = "",
) -> None:
    """Load what a file of weights holds into `network`; `source` and `target` name the two in an error.

    Raises UserError for tensors that are missing, of another shape (then with `advice`), without finite numbers, or, unless
    `more_allowed`, more than the network has.
    """
    own = network.state_dict()
    given = tensors_named(content, own)
    tensors = {key for key in own if isinstance(given.get(key), Tensor)}
    fit = [key for key in own if key in tensors and given[key].shape == own[key].shape]
    lacking = [key for key in own if key not in given and not key.endswith("num_batches_tracked")]
    misfits = [key for key in own if key in tensors and key not in fit]
    floats = [key for key in fit if own[key].is_floating_point()]
    damaged = [key for key in floats if not (given[key].is_floating_point() and given[key].isfinite().all())]
    faults = (
        [f"lacks {key!r}" for key in lacking],
        [f"has {key!r}, which the network hasn't" for key in given if key not in own and not more_allowed],
        [f"has {key!r}, which is no tensor" for key in own if key in given and key not in tensors],
        [f"has {key!r} of another shape, {[*given[key].shape]}, not {[*own[key].shape]}" for key in misfits],
        [f"has {key!r}, whose values are not finite floating-point numbers" for key in damaged],
    )
    if found := [first + f" and {len(more)} more such" * bool(more) for first, *more in filter(None, faults)]:
        said = "; it ".join(found) + f"; {advice}" * bool(misfits and advice)
        raise UserError(f"{source} doesn't fit {target}: it {said}")
    network.load_state_dict({key: given[key] for key in own if key in given}, strict=False)
