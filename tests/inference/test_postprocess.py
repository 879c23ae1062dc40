from __future__ import annotations

import json
from pathlib import Path

import hydra
import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from run_lengths import encode

from adnet.instance_pruning.rules import InstancePruning
from adnet.shared.check_config import check_config
from adnet.shared.command import conf_dir


@pytest.fixture
def detections(tmp_path: Path) -> Path:
    file = tmp_path / "detections.json"
    mask = np.ones((4, 4), bool)
    file.write_text(json.dumps([{"image_id": "bear/00000", "segmentation": encode(mask), "score": 0.9}]))
    return file


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_configs_build_with_precomputed_detections(command: str, detections: Path) -> None:
    given = ["postprocess=instance_pruning", "postprocess/detector=precomputed"]
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = hydra.compose(command, [*given, f"postprocess.detector.file={detections}"])
        check_config(cfg, command)
    built = instantiate(cfg.postprocess)
    assert isinstance(built, InstancePruning)
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
