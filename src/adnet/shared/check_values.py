"""Check the types and ranges of config values."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from adnet.errors import UserError


class Limit(NamedTuple):
    """A range of numbers; `whole` ones only."""

    least: float
    most: float = float("inf")
    whole: bool = False
    above: bool = False
    """Whether `least` itself is left out."""

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        least = f"above {self.least}" if self.above else f"of at least {self.least}"
        return f"{kind} {least}" + (f" and at most {self.most}" if self.most < float("inf") else "")

    def holds(self, value: Any) -> bool:
        number = isinstance(value, int if self.whole else (int, float)) and not isinstance(value, bool)
        return number and self.least <= value <= self.most and not (self.above and value == self.least)


COUNT, SHARE, POSITIVE = Limit(1, whole=True), Limit(0, 1), Limit(0, above=True)
LIMITS = {
    "seed": Limit(0, 2**32 - 1, whole=True),
    "steps": COUNT,
    "epoch_steps": COUNT,
    "checkpoint_steps": COUNT,
    "data.train": COUNT,
    "data.val": COUNT,
    "data.frames": Limit(2, whole=True),
    "pairs.batch_size": COUNT,
    "pairs.val_frames": COUNT,
    "pairs.workers": Limit(0, whole=True),
    "pairs.augmentation.min_crop": Limit(0, 1, above=True),
    "pairs.augmentation.flip": SHARE,
    "pairs.augmentation.jitter": SHARE,
    "optim.optimizer.lr": Limit(0),
    "optim.optimizer.weight_decay": Limit(0),
    "optim.optimizer.momentum": SHARE,
    "optim.schedule.horizon": COUNT,
    "optim.schedule.power": Limit(0),
    "optim.schedule.warmup": Limit(0, whole=True),
    "optim.new_layers_lr": Limit(0),
    "loss.soft_iou": Limit(0),
    "loss.boundary": Limit(0),
    "loss.boundary_width": COUNT,
    "model.head_channels": COUNT,
    "model.dropout": SHARE,
    "model.aux_weight": Limit(0),
    "model.encoder.dropout": SHARE,
    "model.encoder.aspp_channels": COUNT,
    "model.encoder.embedding_channels": COUNT,
    "fps": POSITIVE,
    "batch_size": COUNT,
    "embeddings": Limit(0, whole=True),
    "shard": Limit(0, whole=True),
    "shards": COUNT,
    "metrics.frames": COUNT,
    "metrics.rounds": COUNT,
    "training.steps": COUNT,
    "training.warmup": Limit(0, whole=True),
    "training.rounds": COUNT,
    "inference.frames": COUNT,
    "flow.method.height": COUNT,
    "flow.method.updates": COUNT,
    "protocol.threshold": SHARE,
    "trainer.log_every_n_steps": COUNT,
    "trainer.accumulate_grad_batches": COUNT,
    "trainer.gradient_clip_val": POSITIVE,
    "callbacks.validation.overlays": Limit(0, whole=True),
    "callbacks.weight_averaging.decay": Limit(0, 1),
    "calibration_frames": COUNT,
    "inference.calibration_frames": COUNT,
    "port": Limit(1, 65535, whole=True),
    "examples": Limit(0, whole=True),
    "max_megabytes": COUNT,
    "max_frames": COUNT,
    "max_megapixels": POSITIVE,
    "max_waiting": COUNT,
    "workers": COUNT,
}
"""The range of each key, in every command that has it; null is accepted where it is the default."""

SIZES = ("test_size", "pairs.augmentation.crop_size", "size", "inference.size")
"""Keys that hold a height and width in pixels, each 8k+1: a stride-8 grid with aligned corners then meets pixels exactly."""

_TEXT = ("checkpoint", "output", "device", "predictions", "variant", "url", "entity", "sweep", "what", "scores")
TYPES: dict[str, Any] = {
    **dict.fromkeys((*_TEXT, "metrics.predictions", "inference.checkpoint"), str),
    "runs": str | list[str],
    "input": str | int | list[str | int],
    "anchor": str | int,
}
"""Types of the keys whose default (null, or none at all) does not show one; null is accepted where it is the default."""

_SIZE = "[height, width] in pixels, each 8k+1 and at least 17, such as [193,337]"
_KINDS: tuple[tuple[Any, str], ...] = (
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "a text"),
    (list, "a list"),
)

OPTIONAL = ("logger", "callbacks")
"""Groups that may be null."""


def check_values(cfg: DictConfig, defaults: DictConfig) -> None:
    """Raise UserError for a value of the wrong type or out of its range, before anything is built.

    `cfg` is the config of a command, `defaults` the same without overrides. A value is checked against its range in `LIMITS`, then
    against the annotation of its argument of the `_target_`. Keys without a `_target_` are checked against `TYPES`, or against
    the type of their default.
    """
    given: Any = OmegaConf.to_container(cfg)
    usual: Any = OmegaConf.to_container(defaults)
    for key, default in usual.items():
        if isinstance(default, dict) and default and key not in OPTIONAL and not isinstance(given.get(key), dict):
            raise UserError(
                f"{key}={_shown(given.get(key))}: nothing runs without it; leave it out, or choose {key}=NAME"
            )
    _check_node(given, usual, "")


def expectation(name: str, default: Any, target: str | None) -> str:
    """Describe what `check_values` accepts for a key; "" if anything.

    `default` is the value in the config, `target` the `_target_` beside it, if any.
    """
    hints = _hints(resolve_name(target)) if target else {}
    leaf = name.rpartition(".")[2]
    if name in LIMITS:
        expected = str(LIMITS[name])
    elif name in SIZES:
        expected = _SIZE
    elif leaf in hints:
        return _any_of(hints[leaf])
    elif name in TYPES and not hints:
        expected = _any_of(TYPES[name])
    elif _is_elsewhere(default) or hints:
        return ""
    else:
        return next((expected for kind, expected in _KINDS if isinstance(default, kind)), "")
    return f"{expected}, or null" if default is None else expected


def _check_node(node: Any, defaults: Any, path: str) -> None:
    hints = _hints(resolve_name(node["_target_"])) if "_target_" in node else {}
    for key, value in node.items():
        name, default = f"{path}{key}", defaults.get(key) if isinstance(defaults, dict) else None
        if isinstance(value, dict) and ("_target_" in value or isinstance(default, dict)):
            _check_node(value, default, f"{name}.")
        elif not _is_elsewhere(value) and not str(key).startswith("_"):
            _check_range(name, value, default)
            if key in hints:
                _check_annotation(name, value, hints[key])
            elif not hints and not (value is None and (default is None or path.startswith(OPTIONAL))):
                _check_like(name, value, default)


def _is_elsewhere(value: Any) -> bool:
    """Return whether `value` is still to be given (`???`), or refers to another key, where it is checked."""
    return isinstance(value, str) and (value == "???" or "${" in value)


def _check_range(name: str, value: Any, default: Any) -> None:
    if name in LIMITS and not LIMITS[name].holds(value) and not (value is None and default is None):
        raise _wrong(name, value, str(LIMITS[name]))
    if name in SIZES and not (value is None and default is None):
        sides = value if isinstance(value, list) else [value]
        if len(sides) != 2 or not all(Limit(17, whole=True).holds(side) and side % 8 == 1 for side in sides):
            raise _wrong(name, value, _SIZE)


def _check_like(name: str, value: Any, default: Any) -> None:
    """Check `value` against its type in `TYPES`, else against that of its default; a float default accepts whole numbers."""
    if name in TYPES:
        _check_annotation(name, value, TYPES[name])
        return
    for kind, expected in _KINDS:
        if isinstance(default, kind) and not _is_elsewhere(default):
            alike = isinstance(value, kind) and isinstance(value, bool) is isinstance(default, bool)
            if not alike:
                raise _wrong(name, value, expected)
            if isinstance(value, list) and default:
                for item in value:
                    _check_like(f"an item of {name}", item, default[0])
            return


def _check_annotation(name: str, value: Any, hint: Any) -> None:
    if _fits(value, hint):
        return
    choices = [choice for part in _parts(hint) if get_origin(part) is Literal for choice in get_args(part)]
    near = get_close_matches(str(value), [choice for choice in choices if isinstance(choice, str)], n=1)
    raise _wrong(name, value, _any_of(hint) + (f"; did you mean {near[0]}?" if near else ""))


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotation of each argument; {} if they cannot be resolved."""
    try:
        return get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError, AttributeError):
        return {}


def _parts(hint: Any) -> list[Any]:
    if get_origin(hint) in (Union, types.UnionType):
        return [part for argument in get_args(hint) for part in _parts(argument)]
    return [hint]


_PLAIN: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    type(None): "null",
}


def _fits(value: Any, hint: Any) -> bool:
    return any(_fits_part(value, part) for part in _parts(hint))


def _fits_part(value: Any, hint: Any) -> bool:
    """Return whether `value`, as YAML reads it, fits a type; True for types that YAML cannot express."""
    if hint is Any:
        return True
    if hint is bool or hint is str or hint is type(None):
        return isinstance(value, hint)
    if hint is int or hint is float:
        return isinstance(value, int if hint is int else (int, float)) and not isinstance(value, bool)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in arguments
    if origin is tuple:
        if not isinstance(value, list):
            return False
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return all(_fits(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    if origin is list or origin is Sequence:
        return isinstance(value, list) and all(_fits(item, arguments[0]) for item in value)
    if inspect.isclass(hint) and issubclass(hint, Path):
        return isinstance(value, str)
    # An instance of a class can only come from a `_target_`, never from a plain value.
    return not inspect.isclass(hint) or hint is object


def _any_of(hint: Any) -> str:
    return " or ".join(_described(part) for part in _parts(hint))


def _described(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    if get_origin(hint) in (tuple, list, Sequence):
        inner = [_any_of(argument) for argument in get_args(hint) if argument is not Ellipsis]
        return f"a list of {' and '.join(inner)}"
    return _PLAIN.get(hint, "a path" if hint is Path else getattr(hint, "__name__", str(hint)))


def _wrong(name: str, value: Any, expected: str) -> UserError:
    return UserError(f"{name}={_shown(value)}: expected {expected}")


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).replace(" ", "")
