from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from adnet.errors import UserError
from adnet.models import ADNet
from adnet.shared.command import conf_dir


def test_the_network_is_what_its_constructor_makes(tiny_model_config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    made = instantiate(tiny_model_config)
    torch.manual_seed(0)
    built = ADNet.from_config(tiny_model_config)
    assert repr(built) == repr(made)
    for name, value in made.state_dict().items():
        assert torch.equal(built.state_dict()[name], value)


@pytest.mark.parametrize("model", sorted(path.stem for path in Path(conf_dir(), "model").glob("*.yaml")))
def test_every_model_of_ours_is_built(model: str) -> None:
    """As it lies in a checkpoint of training, with a decoder; its backbone is a small one."""
    small = [
        "model.encoder.backbone=test_resnet",
        "model.encoder.aspp_channels=8",
        "model.decoder=true",
        "model.encoder.multi_grid=null",
    ]
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = hydra.compose("train", [f"model={model if model != 'adnet' else 'full'}", *small])
    config: Any = OmegaConf.to_container(cfg.model, resolve=True)
    given = copy.deepcopy(config)
    network = ADNet.from_config(config)
    assert network.variant == config["variant"]
    assert network.decoder is not None
    assert config == given


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_target_": "os.mkdir"}, "_target_ is 'os.mkdir'"),
        ({"_target_": "adnet_models.ADNet"}, "_target_ is 'adnet_models.ADNet'"),
        ({"dropout": "${oc.env:HOME}"}, "dropout is '${oc.env:HOME}'"),
        ({"dropout": True}, "dropout is True"),
        ({"variant": {"_target_": "os.getcwd"}}, "variant is {'_target_': 'os.getcwd'}"),
        ({"encoder": {"_target_": "os.getcwd"}}, "encoder._target_ is 'os.getcwd'"),
        ({"motion": {"_target_": "os.getcwd"}}, "motion._target_ is 'os.getcwd'"),
        ({"encoder": None}, "encoder is None"),
        ({"size": 3}, "size is 3"),
        ({"dropout": 9}, "dropout is 9, not a number of at least 0 and at most 1"),
        ({"head_channels": -1}, "head_channels is -1, not a whole number of at least 1"),
        ({"variant": "ful"}, "did you mean full?"),
    ],
)
def test_anything_else_is_one_line(tiny_model_config: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        ADNet.from_config(tiny_model_config | change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_impossible_network_is_one_line(tiny_model_config: dict[str, Any]) -> None:
    tiny_model_config["encoder"]["mean"] = [0.5]
    with pytest.raises(UserError, match="no network can be built from it"):
        ADNet.from_config(tiny_model_config)


@pytest.mark.parametrize("config", [None, 1, [], "adnet.models.ADNet"])
def test_what_is_no_config(config: Any) -> None:
    with pytest.raises(UserError, match="all of it is"):
        ADNet.from_config(config)


def test_a_file_that_the_config_names_is_not_read(tiny_model_config: dict[str, Any]) -> None:
    assert ADNet.from_config(tiny_model_config | {"weights": "nowhere.ckpt"}).warm_start_report is None
