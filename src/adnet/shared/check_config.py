"""Walk through a config, and check its keys and the types and ranges of its values before anything is built."""

import inspect
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from pkgutil import resolve_name
from typing import Annotated, Any, Literal, Optional, get_type_hints

from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from adnet.errors import UserError, nearest
from adnet.shared.value_types import FrameSize, Proportion, Text, choices, described, fits

_TEXTS = "checkpoint output masks device predictions variant url entity sweep scores inference.checkpoint"
_AT_LEAST_1 = """
    steps epoch_steps checkpoint_steps batch_size shards workers calibration_frames max_megabytes max_frames max_waiting
    trainer.log_every_n_steps trainer.accumulate_grad_batches inference.frames strip_frames
"""
TYPES: dict[str, Any] = {
    **dict.fromkeys(_TEXTS.split(), Text),
    **dict.fromkeys(_AT_LEAST_1.split(), PositiveInt),
    **dict.fromkeys(("embeddings", "shard", "examples", "strip_sequences", "worst_frames"), NonNegativeInt),
    **dict.fromkeys(("fps", "max_megapixels", "trainer.gradient_clip_val"), PositiveFloat),
    **dict.fromkeys(("optim.new_layers_lr", "optim.optimizer.lr", "optim.optimizer.weight_decay"), NonNegativeFloat),
    **dict.fromkeys(("size", "test_size", "inference.size"), FrameSize),
    "what": Literal["inference", "gpu_check"],
    "kind": Literal["auto", "masks", "probabilities"],
    "runs": Text | list[Text],
    "inference.precisions": list[Literal["fp32", "tf32", "bf16"]],
    "input": Text
    | int
    | Annotated[list[Text | int], Field(min_length=1, description="a list of text or whole numbers")],
    "anchor": Text | int,
    "seed": Annotated[int, Field(ge=0, le=2**32 - 1)],
    "port": Annotated[int, Field(ge=1, le=65535)],
    "optim.optimizer.momentum": Proportion,
}
"""Types of the keys that no annotation of ours covers: those that a command reads itself, and arguments of PyTorch and Lightning."""

OPTIONAL = ("logger", "callbacks")  # groups that may be null, as each of their members may

_HYDRA_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}


def walk(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each key within `node` as a full path, in which list items are numbers, with its value."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield f"{prefix}{key}", child
        yield from walk(child, f"{prefix}{key}.")


def flattened(config: Any) -> dict[str, Any]:
    """Return the values of a config by their full keys; a list and an empty group count as values."""
    flat: dict[str, Any] = {}
    for key, child in config.items():
        if isinstance(child, dict) and child:
            flat |= {f"{key}.{below}": value for below, value in flattened(child).items()}
        else:
            flat[str(key)] = child
    return flat


def _holds_target(node: Any) -> bool:
    return isinstance(node, dict) and ("_target_" in node or any(map(_holds_target, node.values())))


def check_config(cfg: DictConfig, name: str) -> None:
    """Raise UserError for a value of the wrong type or range, and for an unknown key, which Hydra accepts after a `+`.

    Known keys are the arguments of a `_target_`; without one, the keys that `conf/NAME.yaml` composes to. Groups such as `logger`
    and `callbacks` may hold further entries that have a `_target_`. Types are those of `value_type`.
    """
    check_against(cfg, _composed(name))


def check_against(cfg: DictConfig, defaults: DictConfig) -> None:
    """Check `cfg` like `check_config`, against `defaults` instead of a command's config without overrides."""
    given: Any = OmegaConf.to_container(cfg)
    usual: Any = OmegaConf.to_container(defaults)
    for importing in (False, True):  # most mistakes are reported before PyTorch is imported
        _check_group(given, usual, "", importing)


def _check_group(given: dict[str, Any], usual: Any, prefix: str, importing: bool, inside_target: bool = False) -> None:
    """Check the content of a group: if `importing`, the arguments of each `_target_`, otherwise everything else.

    `prefix` is the group's name and a dot, `usual` its default content, `inside_target` whether a `_target_` is above it.
    """
    target, defaults = given.get("_target_"), usual if isinstance(usual, dict) else {}
    for key, default in defaults.items():
        name = f"{prefix}{key}"
        # Arguments of a `_target_` are checked by their type instead.
        needed = isinstance(default, dict) and default and not name.startswith(OPTIONAL) and "_target_" not in defaults
        if needed and not isinstance(given.get(key), dict):
            choose = "" if prefix else f", or choose {key}=NAME"
            raise UserError(f"{name}={_shown(given.get(key))}: it can't be replaced; remove this override{choose}")
    if (target is not None) is importing and not (target is None and inside_target):
        _check_keys(given, usual, prefix)
    for key, value in given.items():
        name, default = f"{prefix}{key}", defaults.get(key)
        if isinstance(value, dict) and (isinstance(default, dict) or _holds_target(value)):
            _check_group(value, default, f"{name}.", importing, inside_target or target is not None)
        elif (target is not None and name not in TYPES) is importing and not str(key).startswith("_"):
            _check_value(name, value, default, target)


def _check_keys(given: dict[str, Any], usual: Any, prefix: str) -> None:
    if "_target_" in given:
        known = _argument_names(given["_target_"], prefix)
    elif isinstance(usual, dict) and "_target_" not in usual:
        added = given if prefix else {}
        known = [*usual, *(key for key, child in added.items() if isinstance(child, dict) and "_target_" in child)]
    else:
        return
    for key in given:
        if known is not None and key not in known and key not in _HYDRA_KEYS:
            raise UserError(f"unknown key {prefix}{key}" + nearest(str(key), {*known} - _HYDRA_KEYS, prefix))


def _check_value(name: str, value: Any, default: Any, target: str | None) -> None:
    if _is_elsewhere(value) or (value is None and target is None and name.startswith(OPTIONAL)):
        return
    hint = value_type(name, default, target)
    if not fits(value, hint):
        near = get_close_matches(str(value), choices(hint), n=1)
        near += [f"{name}=[{value}]"] if fits([value], hint) else []
        hope = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{name}={_shown(value)}: expected {described(hint)}{hope}")


@cache
def _composed(name: str) -> DictConfig:
    loader = GlobalHydra.instance().config_loader()
    cfg: DictConfig = loader.load_configuration(name, [], RunMode.RUN, validate_sweep_overrides=False)
    cfg = cfg.copy()
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    return cfg


def value_type(name: str, default: Any, target: str | None) -> Any:
    """Return the type of a key's value, `Any` if any value is allowed.

    It is the key's entry in `TYPES`; otherwise, the annotation of the argument of `target` (the `_target_` beside the key) or,
    without a target, the type of `default` (the value in the config). A default of null permits null.
    """
    if target is None or name in TYPES:
        hint = TYPES.get(name, Any if _is_elsewhere(default) else _type_like(default))
        return Optional[hint] if default is None and hint is not Any else hint  # noqa: UP045 (of a variable)
    return argument_types(target).get(name.rpartition(".")[2], Any)


@cache
def argument_types(target: str) -> dict[str, Any]:
    """Return the annotations of the arguments of `target`, a class or function by its full name; {} if they cannot be resolved."""
    found = resolve_name(target)
    try:
        return get_type_hints(found.__init__ if inspect.isclass(found) else found, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}


def _argument_names(target: str, name: str) -> list[str] | None:
    """Return the arguments of `target`, the `_target_` of the group `name`; None if it takes any. Raises UserError if it is missing."""
    try:
        found: Any = resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{name}_target_: there is no {target} ({error})") from error
    parameters = inspect.signature(found).parameters.values()
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    return None if takes_any else [parameter.name for parameter in parameters]


def _is_elsewhere(value: Any) -> bool:
    """Return whether `value` is still missing (`???`), or refers to another key, where it is checked."""
    return isinstance(value, str) and (value == "???" or "${" in value)


def _type_like(default: Any) -> Any:
    """Return the type of values that can replace `default`: for a number, any number."""
    if isinstance(default, list) and default:
        return list[_type_like(default[0])]  # type: ignore[misc]
    if isinstance(default, int | float) and not isinstance(default, bool):
        return float
    return type(default) if isinstance(default, bool | str | list) else Any


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).replace(" ", "")
