from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from adnet import evaluate
from adnet.models import ADNet


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
