"""Check the types and ranges of config values."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from difflib import get_close_matches
from pkgutil import resolve_name
from typing import Annotated, Any, Literal, Optional, get_type_hints

from omegaconf import DictConfig, OmegaConf
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from adnet.errors import UserError
from adnet.shared.value_types import FrameSize, Share, Text, choices, described, fits

_TEXTS = "checkpoint output device predictions variant url entity sweep scores inference.checkpoint"
_AT_LEAST_1 = """
    steps epoch_steps checkpoint_steps batch_size shards workers calibration_frames max_megabytes max_frames max_waiting
    trainer.log_every_n_steps trainer.accumulate_grad_batches inference.frames inference.calibration_frames
"""
TYPES: dict[str, Any] = {
    **dict.fromkeys(_TEXTS.split(), Text),
    **dict.fromkeys(_AT_LEAST_1.split(), PositiveInt),
    **dict.fromkeys(("embeddings", "shard", "examples"), NonNegativeInt),
    **dict.fromkeys(("fps", "max_megapixels", "trainer.gradient_clip_val"), PositiveFloat),
    **dict.fromkeys(("optim.new_layers_lr", "optim.optimizer.lr", "optim.optimizer.weight_decay"), NonNegativeFloat),
    **dict.fromkeys(("size", "test_size", "inference.size"), FrameSize),
    "what": Literal["inference", "gpu_check"],
    "kind": Literal["auto", "masks", "probabilities"],
    "runs": Text | list[Text],
    "input": Text
    | int
    | Annotated[list[Text | int], Field(min_length=1, description="a list of a text or a whole number")],
    "anchor": Text | int,
    "seed": Annotated[int, Field(ge=0, le=2**32 - 1)],
    "port": Annotated[int, Field(ge=1, le=65535)],
    "optim.optimizer.momentum": Share,
}
"""Types of the keys that no annotation of ours covers: those that a command reads itself, and arguments of PyTorch and Lightning."""

OPTIONAL = ("logger", "callbacks")
"""Groups that may be null, as each of their members may."""


def check_values(cfg: DictConfig, defaults: DictConfig, imports: bool = True) -> None:
    """Raise UserError for a value of the wrong type or out of its range, before anything is built.

    `cfg` is the config of a command, `defaults` the same without overrides. Types are those of `value_type`; without `imports`,
    only values are checked whose type is known without importing a `_target_`.
    """
    given: Any = OmegaConf.to_container(cfg)
    usual: Any = OmegaConf.to_container(defaults)
    _check_groups(given, usual)
    for name, value, default, target in _leaves(given, usual, ""):
        if not imports and _needs_import(name, target):
            continue
        hint = value_type(name, default, target)
        left_out = value is None and target is None and name.startswith(OPTIONAL)
        if not left_out and not fits(value, hint):
            near = get_close_matches(str(value), choices(hint), n=1)
            hope = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"{name}={_shown(value)}: expected {described(hint)}{hope}")


def _check_groups(given: dict[str, Any], usual: dict[str, Any], path: str = "") -> None:
    """Raise UserError for a group that is no group any more. Those that are arguments of a `_target_` have a type to be checked by."""
    for key, default in usual.items():
        name = f"{path}{key}"
        if not isinstance(default, dict) or not default or name in OPTIONAL:
            continue
        group = given.get(key)
        if not isinstance(group, dict):
            choose = "" if path else f", or choose {key}=NAME"
            raise UserError(f"{name}={_shown(group)}: nothing runs without it; leave it out{choose}")
        if "_target_" not in default:
            _check_groups(group, default, f"{name}.")


def value_type(name: str, default: Any, target: str | None) -> Any:
    """Return the type of a key's value, `Any` if everything goes.

    It is the key's entry in `TYPES`, or else the annotation of the argument of `target`, the `_target_` beside the key, or else,
    without a target, the type of `default`, the value in the config. A default of null permits null.
    """
    if not _needs_import(name, target):
        hint = TYPES.get(name, Any if _is_elsewhere(default) else _type_like(default))
        return Optional[hint] if default is None and hint is not Any else hint  # noqa: UP045 (of a variable)
    return argument_types(str(target)).get(name.rpartition(".")[2], Any)


def _needs_import(name: str, target: str | None) -> bool:
    return target is not None and name not in TYPES


def argument_types(target: str) -> dict[str, Any]:
    """Return the annotations of the arguments of `target`, a class or function by its full name; {} if they cannot be resolved."""
    found = resolve_name(target)
    try:
        return get_type_hints(found.__init__ if inspect.isclass(found) else found, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}


def _leaves(node: Any, defaults: Any, path: str) -> Iterator[tuple[str, Any, Any, str | None]]:
    """Yield each key that has a value of its own: its full name, the value, the default, and the `_target_` beside it."""
    for key, value in node.items():
        name, default = f"{path}{key}", defaults.get(key) if isinstance(defaults, dict) else None
        if isinstance(value, dict) and ("_target_" in value or isinstance(default, dict)):
            yield from _leaves(value, default, f"{name}.")
        elif not _is_elsewhere(value) and not str(key).startswith("_"):
            yield name, value, default, node.get("_target_")


def _is_elsewhere(value: Any) -> bool:
    """Return whether `value` is still to be given (`???`), or refers to another key, where it is checked."""
    return isinstance(value, str) and (value == "???" or "${" in value)


def _type_like(default: Any) -> Any:
    """Return the type of values that can replace `default`: for a number any number."""
    if isinstance(default, list) and default:
        return list[_type_like(default[0])]  # type: ignore[misc]
    if isinstance(default, int | float) and not isinstance(default, bool):
        return float
    return type(default) if isinstance(default, bool | str | list) else Any


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).replace(" ", "")
