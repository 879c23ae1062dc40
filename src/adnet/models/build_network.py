"""Build a network from plain values, which may come from an untrusted checkpoint."""

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
from adnet.weights.fit import load_into


def build_network(config: Any) -> ADNet:
    """Build the `ADNet` that the plain values in `config` describe, with random weights.

    `config` has the layout of `conf/model`: the arguments of `ADNet`, with those of `DeepLabV3` as its `encoder` and
    `motion`, each with its `_target_`. Unlike Hydra, this neither calls the `_target_` nor resolves `${...}`: a target is
    only compared, and a value must have its argument's type. No file is read, neither ImageNet weights nor `weights`.

    Raises UserError for another `_target_`, an unknown argument, a value of the wrong type, and an impossible network.
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
        raise UserError(f"no network can be built from it ({' '.join(str(error).split()):.200})") from error


def load_network(config: Any, test_size: tuple[int, int], weights: Mapping[str, Any], source: str | Path) -> ADNet:
    """Build the network that `config` describes, with these weights, in eval mode on the CPU.

    Raises UserError, naming the `source`, if `config` describes no network of adnet's or the weights don't fit it.
    """
    try:
        network = build_network(config)
    except UserError as error:
        raise UserError(f"{source} names a model other than adnet's: {error}") from error
    load_into(network, weights, str(source), "the model that it names")
    network.test_size = test_size
    return network.eval()


@cache
def _adnet() -> type[BaseModel]:
    encoder = _checked(DeepLabV3)
    return _checked(ADNet, encoder=encoder, motion=encoder | None)


def _checked(network: type[nn.Module], **parts: Any) -> type[BaseModel]:
    """Create a pydantic model that checks values against the argument types of `network`; `parts` have models of their own."""
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
