"""Check the keys of a config, and the types and ranges of its values, before anything is built."""

import inspect
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher, get_close_matches
from functools import cache
from pkgutil import resolve_name
from typing import Annotated, Any, Literal, NamedTuple, Optional, Self, get_type_hints

from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from adnet.errors import UserError
from adnet.shared.value_types import FrameSize, Proportion, Text, choices, described, fits

_TEXTS = "checkpoint output masks device predictions variant url entity sweep scores inference.checkpoint"
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
    "inference.precisions": list[Text],
    "input": Text
    | int
    | Annotated[list[Text | int], Field(min_length=1, description="a list of a text or a whole number")],
    "anchor": Text | int,
    "seed": Annotated[int, Field(ge=0, le=2**32 - 1)],
    "port": Annotated[int, Field(ge=1, le=65535)],
    "optim.optimizer.momentum": Proportion,
}
"""Types of the keys that no annotation of ours covers: those that a command reads itself, and arguments of PyTorch and Lightning."""

OPTIONAL = ("logger", "callbacks")
"""Groups that may be null, as each of their members may."""

_HYDRA_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}


class _Group(NamedTuple):
    """A group of keys: its name, ending in a dot, what it holds, what it holds by default, and whether a `_target_` is above it."""

    name: str
    given: dict[str, Any]
    usual: Any
    below_target: bool

    def child(self, key: str) -> Self | None:
        """Return the group in `key`; None if that is a value, be it a dictionary."""
        value, usual = self.given[key], self.usual.get(key) if isinstance(self.usual, dict) else None
        if isinstance(value, dict) and (isinstance(usual, dict) or _holds_target(value)):
            return type(self)(f"{self.name}{key}.", value, usual, self.below_target or "_target_" in self.given)
        return None


def _holds_target(node: Any) -> bool:
    return isinstance(node, dict) and ("_target_" in node or any(map(_holds_target, node.values())))


def check_config(cfg: DictConfig, name: str) -> None:
    """Raise UserError for a key that nothing reads, which Hydra accepts after a `+`, and for a value of the wrong type or range.

    Known keys are the arguments of a `_target_`; without one, the keys that `conf/NAME.yaml` composes to. Groups such as `logger`
    and `callbacks` may hold further entries that have a `_target_`. Types are those of `value_type`.
    """
    check_against(cfg, _composed(name))


def check_against(cfg: DictConfig, defaults: DictConfig) -> None:
    """Do the same for a config without overrides other than that of a command."""
    given: Any = OmegaConf.to_container(cfg)
    usual: Any = OmegaConf.to_container(defaults)
    _check_groups(given, usual)
    groups = [*_groups(_Group("", given, usual, below_target=False))]
    for importing in (False, True):  # most mistakes are answered before PyTorch is imported
        for group in groups:
            if ("_target_" in group.given) is importing:
                _check_keys(group)
            _check_values(group, importing)


def _groups(group: _Group) -> Iterator[_Group]:
    yield group
    for key in group.given:
        if child := group.child(key):
            yield from _groups(child)


def _check_keys(group: _Group) -> None:
    if (known := _known_keys(group)) is None:
        return
    for key in group.given:
        if key not in known and key not in _HYDRA_KEYS:
            raise UserError(f"unknown key {group.name}{key}" + nearest(str(key), known, group.name))


def _known_keys(group: _Group) -> list[str] | None:
    """Return the keys that something reads; None if it may be any."""
    if "_target_" in group.given:
        return _argument_names(group.given["_target_"], group.name)
    if group.below_target or not isinstance(group.usual, dict) or "_target_" in group.usual:
        return None
    added = group.given if group.name else {}
    return [*group.usual, *(key for key, child in added.items() if isinstance(child, dict) and "_target_" in child)]


def _check_values(group: _Group, importing: bool) -> None:
    """Check the values whose type is found by importing the group's `_target_`, or the others."""
    target = group.given.get("_target_")
    for key, value in group.given.items():
        if _is_elsewhere(value) or str(key).startswith("_") or group.child(key):
            continue
        name = f"{group.name}{key}"
        if (target is not None and name not in TYPES) is not importing:
            continue
        hint = value_type(name, group.usual.get(key) if isinstance(group.usual, dict) else None, target)
        left_out = value is None and target is None and name.startswith(OPTIONAL)
        if not left_out and not fits(value, hint):
            near = get_close_matches(str(value), choices(hint), n=1)
            near += [f"{name}=[{value}]"] if fits([value], hint) else []
            hope = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"{name}={_shown(value)}: expected {described(hint)}{hope}")


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """Say which of the `known` keys or names is meant by `word`, or list them all if none is near."""
    known = sorted({*known} - _HYDRA_KEYS)
    near = get_close_matches(word, known) or get_close_matches(word := word.lower(), known)
    ratios = [SequenceMatcher(None, name, word).ratio() for name in near]
    nearest_ones = [f"{prefix}{name}" for name, ratio in zip(near, ratios, strict=True) if ratio == ratios[0]]
    return (
        f"; did you mean {' or '.join(sorted(nearest_ones))}?" if near else f"; known are: {', '.join(known) or 'none'}"
    )


@cache
def _composed(name: str) -> DictConfig:
    """Compose `conf/NAME.yaml` without overrides."""
    loader = GlobalHydra.instance().config_loader()
    cfg: DictConfig = loader.load_configuration(name, [], RunMode.RUN, validate_sweep_overrides=False)
    cfg = cfg.copy()
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    return cfg


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
    if target is None or name in TYPES:
        hint = TYPES.get(name, Any if _is_elsewhere(default) else _type_like(default))
        return Optional[hint] if default is None and hint is not Any else hint  # noqa: UP045 (of a variable)
    return argument_types(target).get(name.rpartition(".")[2], Any)


def argument_types(target: str) -> dict[str, Any]:
    """Return the annotations of the arguments of `target`, a class or function by its full name; {} if they cannot be resolved."""
    found = resolve_name(target)
    try:
        return get_type_hints(found.__init__ if inspect.isclass(found) else found, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}


def _argument_names(target: str, name: str) -> list[str] | None:
    """Return the arguments of `target`, the `_target_` of the group `name`; None if it takes any. Raises UserError if there is none."""
    try:
        found: Any = resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{name}_target_: there is no {target} ({error})") from error
    parameters = inspect.signature(found).parameters.values()
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    return None if takes_any else [parameter.name for parameter in parameters]


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
