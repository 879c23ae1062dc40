"""Every file in conf/ composes, and says only what the classes that it builds take."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from pkgutil import resolve_name
from typing import Any

import hydra
import pytest
from omegaconf import OmegaConf

from adnet.models.branches import VARIANTS
from adnet.shared.check_config import check_config
from adnet.shared.command import conf_dir

COMMANDS = sorted(path.stem for path in conf_dir().glob("*.yaml"))
OPTIONS = sorted((path.parent.name, path.stem) for path in conf_dir().glob("*/*.yaml"))
ADDED = {"experiment"}
"""Groups that have no entry in the defaults list."""
LISTS = {"mix"}
"""Groups of which a command takes any number, none by default."""


def compose(name: str, *overrides: str) -> Any:
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = hydra.compose(name, list(overrides))
        check_config(cfg, name)
    return OmegaConf.to_container(cfg)


@cache
def groups(name: str) -> set[str]:
    """The config groups that a command has a choice of."""
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        choices = hydra.compose(name, return_hydra_config=True).hydra.runtime.choices
    return {group for group in choices if "/" not in group}


def targets(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield path, node
        for key, child in node.items():
            yield from targets(child, f"{path}.{key}")


def check_targets(cfg: Any) -> None:
    for path, node in targets(cfg):
        assert node["_target_"].split(".")[0] in {"adnet", "torch", "lightning"}, path
        parameters = inspect.signature(resolve_name(node["_target_"])).parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            assert {key for key in node if not (key.startswith("_") and key.endswith("_"))} <= set(parameters), path


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_composes(name: str) -> None:
    check_targets(compose(name))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_each_option_composes_with_every_command_that_has_its_group(group: str, option: str) -> None:
    commands = ["train"] if group in ADDED | LISTS else [name for name in COMMANDS if group in groups(name)]
    assert commands, f"nothing uses conf/{group}"
    for name in commands:
        check_targets(compose(name, f"{'+' if group in ADDED else ''}{group}={option}"))


def test_commands_choose_what_they_need() -> None:
    assert {"data", "model", "optim", "trainer", "logger", "callbacks", "protocol", "scale"} <= groups("train")
    assert {"data", "protocol"} <= groups("evaluate")
    assert "data" in groups("score")
    assert not any("experiment" in groups(name) for name in COMMANDS)


def test_the_motion_encoder_is_the_frames_encoder_but_for_what_flow_has_not() -> None:
    """Whatever is added to the frames' encoder, and can be overridden in either; flow is normalised alike, and has no decoder."""
    model = compose("train", "model=full_motion")["model"]
    copied = model["encoder"].keys() - {"_target_", "mean", "std", "shallow"}
    assert model["motion"] == {
        "_target_": model["encoder"]["_target_"],
        **{key: f"${{..encoder.{key}}}" for key in copied},
    }


def test_an_ablation_is_an_experiment_of_its_name() -> None:
    """`glob(ablation_*)` is Table 1, no less and no more."""
    names = {option for group, option in OPTIONS if group == "experiment"}
    ablation = set(VARIANTS) - {"cross", "motion", "full_motion"}
    assert {name for name in names if name.startswith("ablation_")} == {f"ablation_{variant}" for variant in ablation}
    assert "extension_cross" in names
    beyond = {
        "motion": "model=motion",
        "full_motion": "+experiment=beyond_motion",
        "cross": "+experiment=extension_cross",
    }
    for variant in VARIANTS:
        experiment = beyond.get(variant, f"+experiment=ablation_{variant}")
        assert compose("train", experiment)["model"]["variant"] == variant
        assert compose("train", f"model={variant}")["model"]["variant"] == variant


def test_paper_scale_is_the_default_and_the_paper_s() -> None:
    """Section 4, Training and Implementation details."""
    cfg = compose("train", "+experiment=ablation_full")
    assert (cfg["steps"], cfg["pairs"]["batch_size"], cfg["pairs"]["anchor"]) == (30000, 8, "first")
    optimizer, schedule = cfg["optim"]["optimizer"], cfg["optim"]["schedule"]
    assert (optimizer["_target_"], optimizer["lr"], optimizer["momentum"], optimizer["weight_decay"]) == (
        "torch.optim.SGD",
        0.005,
        0.9,
        0.0005,
    )
    assert (schedule["horizon"], schedule["power"], cfg["optim"]["new_layers_lr"]) == (40000, 0.9, 1)
    encoder = cfg["model"]["encoder"]
    assert (encoder["backbone"], encoder["output_stride"], encoder["embedding_channels"]) == ("resnet101s", 8, 128)
    assert cfg["pairs"]["augmentation"]["rotate"] is True
    assert (cfg["pairs"]["augmentation"]["flip"], cfg["pairs"]["augmentation"]["jitter"]) == (0, 0)


@pytest.mark.parametrize("optim", [option for group, option in OPTIONS if group == "optim"])
@pytest.mark.parametrize("scale", ["lite", "smoke"])
def test_the_rate_of_a_small_scale_ends_at_zero_with_any_optimiser(scale: str, optim: str) -> None:
    cfg = compose("train", f"scale={scale}", f"optim={optim}")
    assert cfg["optim"]["schedule"]["horizon"] == "${steps}"


@pytest.mark.parametrize("scale", [option for group, option in OPTIONS if group == "scale"])
def test_a_scale_gives_every_size(scale: str) -> None:
    cfg = compose("train", f"scale={scale}")
    for size in (cfg["test_size"], cfg["pairs"]["augmentation"]["crop_size"]):
        # With aligned corners a stride-8 grid meets pixels exactly.
        assert [side % 8 for side in size] == [1, 1]
    assert cfg["steps"] % cfg["epoch_steps"] == 0


@pytest.mark.parametrize("experiment", ["demo", "demo_fast"])
@pytest.mark.parametrize("choice", ["scale=paper", "data=davis2016", "optim=sgd"])
def test_a_choice_replaces_the_demo_s_whole(experiment: str, choice: str) -> None:
    """What is chosen is as it would be without the demo; the rest stays the demo's."""
    group = choice.partition("=")[0]
    demo, both = (compose("train", f"+experiment={experiment}", *words) for words in ((), (choice,)))
    alone = compose("train", choice)
    if group == "scale":
        assert both == alone | {"data": demo["data"], "test_at_start": True}
    else:
        assert both[group] != demo[group]
        assert {key: both[key] for key in both if key != group} == {key: demo[key] for key in demo if key != group}
        # Scales of few steps end the rate at zero with any optimiser.
        expected = {"schedule": alone["optim"]["schedule"] | {"horizon": "${steps}"}} if group == "optim" else {}
        assert both[group] == alone[group] | expected


@pytest.mark.parametrize("name", [name for name in COMMANDS if "flow" in groups(name)])
def test_the_flow_s_cache_needs_no_home(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no HOME, and services often run without one."""
    for variable in ("HOME", "ADNET_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        assert hydra.compose(name).flow.cache == "~/.cache/adnet/flow"
