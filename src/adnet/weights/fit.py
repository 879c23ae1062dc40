"""Fit what a file of weights holds to a network: find its tensors, whatever was put around their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from adnet.errors import UserError

_WITHIN = ("state_dict", "model", "model_state_dict")
"""Where training scripts put a state dict in a file that holds more."""


def unwrapped(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state dict in what a file holds, without the `_orig_mod.` that torch.compile puts into names."""
    for _ in _WITHIN:  # a file may hold a dict that holds itself
        content = next((content[key] for key in _WITHIN if isinstance(content.get(key), Mapping)), content)
    return {str(key).replace("_orig_mod.", ""): value for key, value in content.items()}


def tensors_named(content: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the state dict in what a file holds, by the names that a network gives its tensors.

    If they lie below a prefix, such as the `module.` of DistributedDataParallel, it is removed, and what lies elsewhere is
    left out. The prefix is the one below which most of `names` are found.

    Examples:
        >>> tensors_named({"model": {"module.a.weight": 1, "module.b": 2, "step": 3}}, ["a.weight", "b"])
        {'a.weight': 1, 'b': 2}
    """
    given, names = unwrapped(content), set(names)
    below: Counter[str] = Counter()
    for key in given:
        parts = key.split(".")
        for depth in range(len(parts)):
            if ".".join(parts[depth:]) in names:
                below["".join(f"{part}." for part in parts[:depth])] += 1
    prefix = max(below, key=below.__getitem__, default="")
    return {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}


def load_into(
    network: nn.Module, content: Mapping[str, Any], source: str, target: str, more_allowed: bool = False
) -> None:
    """Load what a file of weights holds into `network`.

    Args:
        source, target: name the file and the network in an error.
        more_allowed: leave out tensors that the network hasn't.

    Raises UserError, in one line, for tensors that are missing, of another shape, or more than the network has.
    """
    own = network.state_dict()
    given = tensors_named(content, own)
    faults = {
        "lacks {}": [key for key in own if key not in given and not key.endswith("num_batches_tracked")],
        "has {}, which the network hasn't": [] if more_allowed else [key for key in given if key not in own],
        "has {} of another shape": [key for key in own if key in given and _shape(given[key]) != _shape(own[key])],
    }
    if said := [
        text.format(repr(keys[0])) + (f" and {len(keys) - 1} more such" if keys[1:] else "")
        for text, keys in faults.items()
        if keys
    ]:
        raise UserError(f"{source} doesn't fit {target}: it {'; it '.join(said)}")
    network.load_state_dict({key: given[key] for key in own if key in given}, strict=False)


def _shape(value: Any) -> list[int] | None:
    return list(value.shape) if isinstance(value, Tensor) else None
