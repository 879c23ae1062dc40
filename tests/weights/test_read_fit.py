from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from adnet.errors import UserError
from adnet.weights.read import load_into


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)))


def named(name: Any) -> Any:
    return lambda state: {name(key): value for key, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        named(lambda key: key),
        named(lambda key: f"module.{key}"),
        named(lambda key: f"_orig_mod.{key}"),
        named(lambda key: f"module._orig_mod.{key}"),
        named(lambda key: f"_orig_mod.module.net.{key}"),
        named(lambda key: key.replace("1.", "1._orig_mod.", 1)),
        lambda state: {"model": state, "optimizer": {"state": {}, "param_groups": []}, "epoch": 3},
        lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()} | {"loss.weight": torch.ones(1)}},
        lambda state: {"module": state, "optimizer": None},  # DeepSpeed
        lambda state: {"model": {"model_state_dict": {f"backbone.{key}": value for key, value in state.items()}}},
        lambda state: {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")},
    ],
)  # fmt: skip
def test_weights_are_found_whatever_is_around_them(wrap: Any) -> None:
    given, own = network(), network()
    load_into(own, wrap(given.state_dict()), "w.pth", "it")
    for name, value in given.state_dict().items():
        assert torch.equal(own.state_dict()[name], value)


def test_what_does_not_fit_is_one_short_line() -> None:
    state, own = network().state_dict(), network()
    before = {name: value.clone() for name, value in own.state_dict().items()}
    lacking = {name: value for name, value in state.items() if not name.startswith("1.")}
    for wrong, said in (
        (lacking, "lacks '1.0.weight' and 5 more such"),
        (state | {"2.weight": torch.ones(1)}, "has '2.weight', which the network hasn't"),
        (state | {"0.bias": torch.ones(7)}, "has '0.bias' of another shape, [7], not [4]"),
        (state | {"0.bias": "none"}, "has '0.bias', which is no tensor"),
        ({}, "lacks '0.weight' and 7 more such"),
        (
            state | {"0.bias": torch.full((4,), torch.inf)},
            "has '0.bias', whose values are not finite floating-point numbers",
        ),
        (
            state | {"0.bias": torch.full((4,), torch.nan)},
            "has '0.bias', whose values are not finite floating-point numbers",
        ),
        (
            state | {"0.bias": torch.ones(4, dtype=torch.int8)},
            "has '0.bias', whose values are not finite floating-point numbers",
        ),
    ):
        with pytest.raises(UserError) as caught:
            load_into(own, wrong, "w.pth", "this network")
        assert str(caught.value) == f"w.pth doesn't fit this network: it {said}"
        assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())
    load_into(own, state | {"2.weight": torch.ones(1)}, "w.pth", "this network", more_allowed=True)
    with pytest.raises(
        UserError, match=r"two networks are there, below 'student\.' and 'teacher\.': save one of them alone"
    ):
        load_into(
            own,
            {f"{whose}.{key}": value for whose in ("student", "teacher") for key, value in state.items()},
            "w",
            "it",
        )
