from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate

from adnet.errors import UserError
from adnet.models import ADNet

ANCHOR, FRAME, FLOW = torch.rand(3, 2, 3, 33, 49, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def checkpoint(tiny_model: ADNet, tiny_model_config: dict[str, Any], tmp_path: Path) -> Path:
    """A checkpoint of the `full` variant."""
    file = tmp_path / "full.ckpt"
    weights = {f"model.{key}": value for key, value in tiny_model.state_dict().items()}
    torch.save({"state_dict": weights, "hyper_parameters": {"model": tiny_model_config}}, file)
    return file


@pytest.fixture
def build(tiny_model_config: dict[str, Any], checkpoint: Path) -> Callable[..., ADNet]:
    def call(encoder: dict[str, Any] | None = None, **options: Any) -> ADNet:
        config = copy.deepcopy(tiny_model_config)
        config["encoder"] |= encoder or {}
        torch.manual_seed(1)
        model: ADNet = instantiate({"weights": str(checkpoint)} | config | options)
        return model

    return call


def motion(config: dict[str, Any]) -> dict[str, Any]:
    return {"variant": "full_motion", "motion": copy.deepcopy(config["encoder"])}


def test_the_same_network_begins_where_the_other_ended(tiny_model: ADNet, build: Callable[..., ADNet]) -> None:
    model = build()
    assert all(torch.equal(value, tiny_model.state_dict()[key]) for key, value in model.state_dict().items())
    assert str(model.warm_start_report).endswith("new: none; missing: none; unused: none")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: {"state_dict": {key.replace("model.", "model._orig_mod."): weights[key] for key in weights}},
        lambda weights: {"model": {key.replace("model.", "module."): weights[key] for key in weights}, "epoch": 1},
        lambda weights: {f"module.{key}": weights[key] for key in weights},
    ],
    ids=["compiled", "data parallel", "in another module"],
)
def test_what_is_around_the_weights_does_not_matter(
    tiny_model: ADNet, build: Callable[..., ADNet], checkpoint: Path, wrap: Any
) -> None:
    torch.save(wrap(torch.load(checkpoint, weights_only=True)["state_dict"]), checkpoint)
    model = build()
    assert all(torch.equal(value, tiny_model.state_dict()[key]) for key, value in model.state_dict().items())
    assert str(model.warm_start_report).endswith("new: none; missing: none; unused: none")


def test_a_new_branch_changes_nothing_yet_and_can_learn(
    tiny_model: ADNet, build: Callable[..., ADNet], tiny_model_config: dict[str, Any]
) -> None:
    model = build(**motion(tiny_model_config))
    outputs = [network.eval()(ANCHOR, FRAME, flow) for network, flow in ((tiny_model, None), (model, FLOW))]
    assert torch.allclose(*outputs, atol=1e-6)
    outputs[1].sum().backward()
    assert model.head[0].weight.grad[:, 16:24].abs().sum() > 0  # type: ignore[index, union-attr, operator]
    assert "; new: motion.backbone (" in str(model.warm_start_report)


def test_a_decoder_is_new_and_the_last_layer_unused(build: Callable[..., ADNet]) -> None:
    model = build({"shallow": True}, decoder=True, aux_weight=0.4)
    said = str(model.warm_start_report)
    assert "decoder (" in said.split("; ")[1]
    assert "aux (" in said.split("; ")[1]
    assert said.endswith("; missing: none; unused: head (2)")


def test_layers_that_the_file_has_by_halves_are_missing(build: Callable[..., ADNet], checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    del content["state_dict"]["model.head.1.bias"]
    torch.save(content, checkpoint)
    assert "; new: none; missing: head (1); unused: none" in str(build().warm_start_report)


@pytest.mark.parametrize(
    ("encoder", "options", "said"),
    [
        (
            {"aspp_channels": 16},
            {},
            r"has 'encoder\.aspp\.convolutions\.0\.0\.weight' of another shape, \[8, 96, 1, 1\], not \[16",
        ),
        ({}, {"variant": "anchor"}, r"has 'head\.0\.weight' of another shape, \[8, 24, 1, 1\], not \[8, 16"),
        (
            {"backbone": "resnet18"},
            {},
            r"lacks encoder\.backbone\.conv1\.weight \(\d+ such\): it has another backbone",
        ),
        (
            {"freeze_batch_norm": True},
            {},
            r"lacks encoder\.backbone\.conv1\.0\.bias .*another model\.encoder\.freeze_batch_norm",
        ),
        ({"mean": [0.1, 0.2, 0.3]}, {}, r"normalised otherwise: give model\.encoder\.mean=\[0\.5,0\.5,0\.5\]"),
    ],
)
def test_what_does_not_fit_is_one_error(
    build: Callable[..., ADNet], encoder: dict[str, Any], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(Exception, match=said) as raised:
        build(encoder, **options)
    assert isinstance(raised.value.__cause__, UserError)
    assert "\n" not in str(raised.value.__cause__)


def test_weights_that_are_no_numbers_are_refused(build: Callable[..., ADNet], checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"]["model.head.0.weight"].fill_(torch.nan)
    torch.save(content, checkpoint)
    with pytest.raises(Exception, match=r"model\.weights: .* has 'head\.0\.weight', whose values are not finite"):
        build()


def test_a_file_that_could_run_code_is_refused(build: Callable[..., ADNet], checkpoint: Path) -> None:
    torch.save({"state_dict": {"model.x": Path}}, checkpoint)
    with pytest.raises(Exception, match="is refused: it holds more than tensors"):
        build()
