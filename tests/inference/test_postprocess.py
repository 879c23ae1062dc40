from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from run_lengths import encode

from adnet.inference.postprocess import Chain, PublishedGate, gate
from adnet.instance_pruning.rules import InstancePruning, StaticObjects
from adnet.shared.check_config import check_config
from adnet.shared.command import conf_dir

SIZE = (200, 300)
THRESHOLD = 0.6


def video(rng: np.random.Generator) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """Probabilities with an object that is large enough for the gate and specks elsewhere."""
    frames = []
    for t in range(4):
        probability = rng.random(SIZE, np.float32) * 0.5
        probability[60:140, 20 + 5 * t : 120 + 5 * t] = 0.9
        probability[20:30, 270:280] = 0.8
        frames.append(probability)
    return frames


def test_the_gate_gives_the_masks_of_the_gate_on_logits() -> None:
    postprocess, previous = PublishedGate(THRESHOLD), None
    for _ in range(2):  # a second video begins without a previous mask
        postprocess.start("video", [])
        previous = None
        for number, probability in enumerate(video(np.random.default_rng(0))):
            logits = np.log(probability / (1 - probability))
            expected = 1 / (1 + np.exp(-gate(logits, previous))) > THRESHOLD
            previous = probability > THRESHOLD
            result = postprocess.step(f"{number:05d}", probability)
            assert result.dtype == np.float32
            assert np.array_equal(result > THRESHOLD, expected)
            assert expected[20:30, 270:280].any() == (number == 0)


def test_a_chain_keeps_its_order() -> None:
    class Note:
        def __init__(self, name: str) -> None:
            self.name = name

        def start(self, video: str, frames: Any) -> None:
            log.append((self.name, video, list(frames)))

        def step(self, frame: str, probability: Any) -> Any:
            log.append((self.name, frame))
            return probability * 2 + (self.name == "b")

    log: list[Any] = []
    chain = Chain({"a": Note("a"), "b": Note("b")})
    chain.start("bear", [np.zeros(1, np.uint8)])
    assert chain.step("00000", np.ones(1, np.float32)) == 5
    assert [entry[0] for entry in log] == ["a", "b", "a", "b"]


@pytest.fixture
def detections(tmp_path: Path) -> Path:
    file = tmp_path / "detections.json"
    mask = np.ones((4, 4), bool)
    file.write_text(json.dumps([{"image_id": "bear/00000", "segmentation": encode(mask), "score": 0.9}]))
    return file


@pytest.mark.parametrize(
    ("command", "option", "at", "kind"),
    [
        ("predict", "instance_pruning", "postprocess.detector", InstancePruning),
        ("evaluate", "published", "postprocess.steps.static_objects.detector", Chain),
    ],
)
def test_configs_build_with_precomputed_detections(
    command: str, option: str, at: str, kind: type, detections: Path
) -> None:
    group = "postprocess/detector" + (f"@{at}" if at != "postprocess.detector" else "")
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = hydra.compose(command, [f"postprocess={option}", f"{group}=precomputed", f"{at}.file={detections}"])
        check_config(cfg, command)
    built = instantiate(cfg.postprocess)
    assert isinstance(built, kind)
    if isinstance(built, Chain):
        assert [type(step) for step in built.steps.values()] == [StaticObjects, PublishedGate]
    built.start("bear", [np.zeros((4, 4, 3), np.uint8)])
    assert built.step("00000", np.ones((4, 4), np.float32)).shape == (4, 4)


def test_every_detector_s_config_names_its_parameters() -> None:
    import inspect
    from pkgutil import resolve_name

    for path in sorted((conf_dir() / "postprocess" / "detector").glob("*.yaml")):
        node = OmegaConf.to_container(OmegaConf.load(path))
        assert isinstance(node, dict)
        parameters = set(inspect.signature(resolve_name(node.pop("_target_"))).parameters)
        assert {str(key) for key in node} - {"_convert_"} == parameters
