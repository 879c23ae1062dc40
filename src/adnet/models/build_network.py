"""From plain values, as a checkpoint of anyone's may hold them, to a network."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from torch import nn

from adnet.errors import UserError
from adnet.models.adnet import ADNet
from adnet.models.encoder import DeepLabV3


def build_network(config: Any) -> ADNet:
    """Build the `ADNet` that the plain values in `config` describe, with random weights.

    `config` is laid out as `conf/model` is: the arguments of `ADNet`, and as its `encoder` and `motion` those of
    `DeepLabV3`, each with its `_target_`. That is a name to compare and nothing else: where Hydra would call what is named
    and compute what stands in `${...}`, here a value is of its argument's type or refused. No file is read: neither
    ImageNet weights nor the file that `weights` names.

    Raises UserError for another `_target_`, an unknown argument, a value of another type, and what no network can have.
    """
    try:
        arguments = _given(_adnet().model_validate(config), ADNet)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "all of it"
        raise UserError(f"{where} is {first['input']!r:.100} ({first['msg']})") from error
    try:
        for name in ("encoder", "motion"):
            if arguments[name] is not None:
                arguments[name] = DeepLabV3(**_given(arguments[name], DeepLabV3) | {"pretrained": False})
        return ADNet(**arguments | {"weights": None})
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise UserError(f"no network can be built of it ({' '.join(str(error).split()):.200})") from error


def load_network(config: Any, test_size: tuple[int, int], weights: Mapping[str, Any], source: str | Path) -> ADNet:
    """Build the network that `config` describes, with these weights, in eval mode on the CPU.

    Raises UserError, which names the `source`, for a config of something else and weights that don't fit it.
    """
    try:
        network = build_network(config)
    except UserError as error:
        raise UserError(f"{source} names another model than adnet's: {error}") from error
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"{source} does not fit the model that it names: {str(error).splitlines()[1].strip()}"
        ) from error
    network.test_size = test_size
    return network.eval()


@cache
def _adnet() -> type[BaseModel]:
    encoder = _checked(DeepLabV3)
    return _checked(ADNet, encoder=encoder, motion=encoder | None)


def _checked(network: type[nn.Module], **parts: Any) -> type[BaseModel]:
    """What holds values against the types of the network's arguments, and those of its `parts` against theirs."""
    hints = get_type_hints(network.__init__) | parts
    fields: dict[str, Any] = {
        "target": (str, Field(alias="_target_", pattern=rf"^adnet\.models\.{network.__name__}$")),
        "convert": (str, Field("all", alias="_convert_")),
    }
    fields |= {
        name: (hints[name], ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in inspect.signature(network).parameters.items()
    }
    return create_model(network.__name__, __config__=ConfigDict(strict=True, extra="forbid"), **fields)


def _given(checked: BaseModel, network: type[nn.Module]) -> dict[str, Any]:
    return {name: getattr(checked, name) for name in inspect.signature(network).parameters}
