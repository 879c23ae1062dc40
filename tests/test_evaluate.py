from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from videos import pictures

from adnet import evaluate
from adnet.backends.load import checkpoint_sha256
from adnet.models import ADNet
from adnet.weights.pretrained import locate


@pytest.mark.parametrize("place", ["checkpoints", "downloads"])
def test_an_evaluation_lies_in_the_run_or_beside_the_checkpoint(
    run: Callable[..., Any],
    tiny_davis: Path,
    tiny_model: ADNet,
    tiny_model_config: dict[str, Any],
    tmp_path: Path,
    place: str,
) -> None:
    folder = tmp_path / "run" / place
    folder.mkdir(parents=True)
    content = {
        "hyper_parameters": {"model": tiny_model_config, "test_size": [33, 57]},
        "state_dict": {f"model.{name}": value for name, value in tiny_model.state_dict().items()},
    }
    torch.save(content, folder / "full.ckpt")
    home = folder.parent if place == "checkpoints" else folder
    ended = run(
        evaluate.main,
        f"checkpoint={folder / 'full.ckpt'}",
        f"data.root={tiny_davis}",
        "protocol=single_scale",
        "device=cpu",
        "precision=bf16",
    )
    assert ended.code == 0, ended.err
    output = home / "evaluation" / "full-davis2016-val-single_scale"
    assert (output / "scores.json").is_file()
    assert json.loads((output / "evaluation.json").read_text())["precision"] == "bf16"


@pytest.fixture
def small(tmp_path: Path) -> tuple[str, ...]:
    """The arguments for a data set of one sequence of three small frames."""
    for index, image in enumerate(pictures(3)):
        for kind, content in (("frames", image), ("masks", image[..., 0] // 255 * 255)):
            file = tmp_path / "own" / kind / "bear" / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(file)
    root = f"data.root={tmp_path / 'own'}"
    return ("data=folder", root, "protocol=single_scale", "size=[33,57]", "device=cpu", "flow.cache=null")


def test_without_a_checkpoint_the_released_weights_are_scored(run: Callable[..., Any], small: tuple[str, ...]) -> None:
    ended = run(evaluate.main, *small)
    assert ended.code == 0, ended.err
    output = Path("evaluation/released-folder-all-single_scale")
    described = json.loads((output / "evaluation.json").read_text())
    assert described["checkpoint_sha256"] == checkpoint_sha256(locate(None))
    assert described["flow"]["method"].startswith("OpticalFlow(")
    masks = sorted((output / "masks" / "bear").iterdir())
    assert [mask.name for mask in masks] == ["0.png", "1.png", "2.png"]
    assert {Image.open(mask).size for mask in masks} == {(80, 48)}
    assert set(json.loads((output / "scores.json").read_text())["sequences"]) == {"bear"}


def test_a_failed_evaluation_leaves_no_folder(run: Callable[..., Any], small: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "flow" / "bear").mkdir(parents=True)
    ended = run(evaluate.main, *small, "flow=folder", f"flow.method.root={tmp_path / 'flow'}")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "no optical flow of frame 1 in" in ended.err
    assert not list(Path.cwd().iterdir())
